"""What packaging/install puts into a root file system, and that it does so once."""

from __future__ import annotations

import re
import stat
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import AS_NOBODY
from tests.support.need import need_root
from tests.support.roots import CHECKOUT

INSTALL = CHECKOUT / "packaging" / "install"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system with nothing in it but capd."""
    need_root()
    root = tmp_path_factory.mktemp("root")
    install(root)
    return root


def install(root: Path, *, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(INSTALL), str(root)], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def contents(root: Path) -> dict[str, tuple[Any, ...]]:
    """All that there is: what it is, whose, and what is in it."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        text = sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        found[str(path.relative_to(root))] = (status.st_mode, status.st_uid, text)
    return found


def test_what_is_installed(root: Path) -> None:
    files = {path for path, about in contents(root).items() if stat.S_ISREG(about[0])}
    private = {path for path in files if path.startswith("usr/lib/capd/")}
    assert files - private - {"usr/lib/systemd/catalog/capd.catalog"} == {
        "etc/capd.toml",
        "usr/bin/capd",
        "usr/lib/systemd/system/capd-exec.path",
        "usr/lib/systemd/system/capd-exec.service",
        "usr/lib/systemd/system/capd-metrics.service",
        "usr/lib/systemd/system/capd-tune.service",
        "usr/lib/systemd/system/capd.service",
        "usr/share/bash-completion/completions/capd",
        "usr/share/capd/grafana/capd.json",
        "usr/share/capd/prometheus/capd.rules.yml",
        "usr/lib/sysusers.d/capd.conf",
        "usr/share/man/man5/capd.toml.5",
        "usr/share/man/man7/capd-guide.7",
        "usr/share/man/man8/capd.8",
        "usr/share/zsh/vendor-completions/_capd",
    }
    packages = {path.split("/")[6] for path in private if "/site-packages/" in path}
    assert {"capd", "pydantic", "pyroute2", "rich"} <= packages
    assert not packages & {"pip", "setuptools", "hypothesis", "pytest"}
    assert not [path for path in private if "/capd/" in path[9:] and path.endswith((".c", ".h"))]
    modules = {path for path in private if path.endswith(".py")}
    compiled = {re.sub(r"__pycache__/(.*)\.cpython-\d+\.pyc$", r"\1.py", path) for path in private}
    assert modules <= compiled


def test_what_is_installed_fits_together(root: Path) -> None:
    """The lock leaves out nothing that anything in it needs, and has what capd asks for."""
    pip = [str(CHECKOUT / ".venv/bin/python"), "-m", "pip"]
    theirs = root / "usr" / "lib" / "capd" / "bin" / "python"
    done = subprocess.run(
        [*pip, "--python", str(theirs), "check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "No broken requirements found.\n")


def test_nothing_installed_names_the_root(root: Path) -> None:
    """It will be somewhere else, or at /, when it runs."""
    found = [
        path for path in root.rglob("*") if path.is_file() and bytes(root) in path.read_bytes()
    ]
    assert found == []


def test_installing_again_changes_nothing(root: Path) -> None:
    (root / "etc" / "capd.toml").write_text("# mine\n")
    before = contents(root)
    assert install(root).stdout == ""
    assert contents(root) == before


def test_a_root_with_another_python_is_refused(tmp_path: Path) -> None:
    need_root()
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "usr" / "bin" / "python3").symlink_to("python3.9")
    said = install(tmp_path, code=1).stderr
    assert re.fullmatch(
        rf"packaging/install: {tmp_path} has python3\.9, this machine python3\.\d+: "
        rf"run this inside {tmp_path}\n",
        said,
    )


def test_a_root_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    need_root()
    argv = [*AS_NOBODY, str(INSTALL), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    said = f"packaging/install: {tmp_path} cannot be written to by this user\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_install_wants_one_directory(tmp_path: Path) -> None:
    assert "Usage: packaging/install ROOT" in install(Path("--help"), code=2).stderr
    assert "is not a directory" in install(tmp_path / "none", code=2).stderr
