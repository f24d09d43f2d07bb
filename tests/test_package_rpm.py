"""The RPM, as far as a Debian can tell: the spec builds, rpmlint is content, nothing is missing.

On Fedora nobody has tried it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from capd import __version__
from tests.support.need import need
from tests.support.roots import CHECKOUT

FOLDER = CHECKOUT / "packaging" / "rpm"
SPEC = FOLDER / "capd.spec"
# Fedora's rpm knows these by systemd-rpm-macros.
MACROS = {"_unitdir": "/usr/lib/systemd/system", "_sysusersdir": "/usr/lib/sysusers.d"}
ELSEWHERE = {  # on Debian, on Fedora
    "/usr/share/zsh/vendor-completions/_capd": "/usr/share/zsh/site-functions/_capd",
}
DOCUMENTS = {"README.md", "DESIGN.md", "LICENSE"}


def output(*argv: str) -> str:
    done = subprocess.run(
        argv, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as the spec says, but that Debian has no RPMs that it could ask for."""
    need("rpmbuild", "rpmlint")
    top = tmp_path_factory.mktemp("rpm")
    defined = {"_topdir": str(top)} | MACROS
    words = [f"--define={name} {value}" for name, value in defined.items()]
    output("rpmbuild", "-bb", "--nodeps", "--build-in-place", *words, str(SPEC))
    (built,) = top.glob("RPMS/*/*.rpm")
    return built


def test_rpmlint_is_content(package: Path) -> None:
    filters = ("--rpmlintrc", str(FOLDER / "capd.rpmlintrc"), "--ignore-unused-rpmlintrc")
    said = output("rpmlint", *filters, str(SPEC), str(package))
    assert ": E: " not in said
    assert ": W: " not in said


def test_what_is_in_it(package: Path, tmp_path: Path) -> None:
    """What packaging/install makes, and what Fedora wants beside it."""
    output("packaging/install", str(tmp_path))
    found = [path for path in tmp_path.rglob("*") if path.is_symlink() or path.is_file()]
    made = {f"/{path.relative_to(tmp_path)}" for path in found}
    wanted = {ELSEWHERE.get(path, path) for path in made}
    wanted = {f"{path}.gz" if "/man/" in path else path for path in wanted}
    wanted -= {"/usr/lib/capd/install-stamp"}
    query = ("rpm", "--query", "--package", str(package), "--queryformat")
    listed = output(*query, r"[%{FILEMODES:perms} %{FILEUSERNAME} %{FILENAMES}\n]").splitlines()
    entries = [line.split(" ", 2) for line in listed]
    assert {owner for _, owner, _ in entries} == {"root"}
    files = {path for mode, _, path in entries if mode[0] != "d"}
    documents = {path for path in files if path.startswith(("/usr/share/doc/", "/usr/share/lic"))}
    assert {path.rpartition("/")[2] for path in documents} == DOCUMENTS
    assert files - documents == wanted
    config = output(*query, r"[%{FILEFLAGS:fflags} %{FILENAMES}\n]")
    assert "cn /etc/capd.toml\n" in config
    assert output(*query, "%{VERSION}") == __version__


def test_it_says_that_it_is_untested() -> None:
    assert "NOT TESTED ON FEDORA" in SPEC.read_text()
