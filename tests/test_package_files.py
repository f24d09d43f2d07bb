"""The package as a file: how it is built, what is in it, and what lintian says of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from capd import __version__
from tests.support import debs
from tests.support.need import need, need_namespaces
from tests.support.roots import BARE, System

PYTHON = {System.BARE_12: ("3.11", "3.12"), System.BARE_13: ("3.13", "3.14")}
LIBPCAP = {System.BARE_12: "libpcap0.8", System.BARE_13: "libpcap0.8t64"}
DEBIAN = {System.BARE_12: 12, System.BARE_13: 13}


@pytest.fixture(scope="module", params=BARE, ids=lambda system: system.value)
def system(request: pytest.FixtureRequest) -> System:
    """Each Debian in turn."""
    need_namespaces()
    need("systemd-nspawn", "debootstrap", "dpkg-deb")
    system: System = request.param
    return system


@pytest.fixture(scope="module")
def package(system: System) -> Path:
    """The package, as an ordinary user has built it there."""
    return debs.deb(system)


def dpkg_deb(*words: str) -> str:
    return subprocess.run(
        ["dpkg-deb", *words], stdout=subprocess.PIPE, text=True, check=True
    ).stdout


def listing(package: Path) -> dict[str, tuple[str, str]]:
    """Mode and owner of every file, by its path."""
    found = {}
    for line in dpkg_deb("--contents", str(package)).splitlines():
        mode, owner, _size, _day, _time, path = line.split(maxsplit=5)
        found[path.partition(" -> ")[0].removeprefix(".")] = (mode, owner)
    return found


def test_lintian_is_content(system: System, package: Path) -> None:
    assert debs.lint(system, package) == ""


def test_its_fields(system: System, package: Path) -> None:
    """A version for each Debian, and the one Python that its environment is for."""
    version = dpkg_deb("--field", str(package), "Version").strip()
    assert version == f"{__version__}+deb{DEBIAN[system]}"
    assert re.fullmatch(rf"capd_{re.escape(version)}_\w+\.deb", package.name)
    depends = set(dpkg_deb("--field", str(package), "Depends").strip().split(", "))
    low, high = PYTHON[system]
    assert {f"python3 (>= {low})", f"python3 (<< {high}~)"} < depends
    (libpcap,) = [one.split()[0] for one in depends if one.startswith("libpcap")]
    assert libpcap == LIBPCAP[system]


@pytest.mark.security("package")
def test_what_is_in_it(package: Path) -> None:
    """All that packaging/install puts there, root's, and what Debian wants beside it."""
    found = listing(package)
    assert {owner for _, owner in found.values()} == {"root/root"}
    assert [path for path, (mode, _) in found.items() if "s" in mode or mode[8] == "w"] == [
        path for path, (mode, _) in found.items() if mode[0] == "l"
    ]
    files = {path for path, (mode, _) in found.items() if mode[0] == "-"}
    assert {
        *("/etc/capd.toml", "/usr/bin/capd", "/usr/lib/sysusers.d/capd.conf"),
        *("/usr/lib/systemd/system/capd.service", "/usr/lib/systemd/catalog/capd.catalog"),
        *("/usr/share/man/man8/capd.8.gz", "/usr/share/man/man5/capd.toml.5.gz"),
        *("/usr/share/doc/capd/changelog.gz", "/usr/share/doc/capd/copyright"),
        *("/usr/share/bash-completion/completions/capd", "/usr/lib/capd/pyvenv.cfg"),
    } < files
    assert not [path for path in files if path.endswith("stamp") or "/setuptools/" in path]


def test_the_config_is_a_conffile(package: Path, tmp_path: Path) -> None:
    dpkg_deb("--control", str(package), str(tmp_path / "control"))
    assert (tmp_path / "control" / "conffiles").read_text() == "/etc/capd.toml\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--help",), "Usage: packaging/build-deb [--version VERSION] [OUTPUT-DIR]"),
        (("--version",), "Usage: packaging/build-deb [--version VERSION] [OUTPUT-DIR]"),
        (("a", "b"), "Usage: packaging/build-deb [--version VERSION] [OUTPUT-DIR]"),
        ((), "packaging/build-deb: packages are missing; as root: apt-get install build-essential"),
    ],
)
def test_it_says_why_not(system: System, words: tuple[str, ...], said: str) -> None:
    assert said in debs.refusal(system, *words)
