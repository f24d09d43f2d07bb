"""capd's package: built by packaging/build-deb, on a Debian that has nothing else for it.

Each is made once for a change of the sources, and kept below build/ of the checkout.  What is
built on is a bare Debian with the packages that build-deb itself asks for, and lintian.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from tests.support import roots
from tests.support.roots import BARE, CHECKOUT, RootError, System

_SOURCES = ("capd", "etc", "packaging", "systemd", "pyproject.toml", "README.md", "LICENSE")
_MADE = {".so", ".pyc"}
_BUILDER = 1000  # an ordinary user
_BUILD = "/checkout/packaging/build-deb"


def refusal(system: System, *words: str, user: str = "nobody") -> str:
    """What build-deb says on a bare Debian, where it cannot build."""
    options = [f"--bind-ro={CHECKOUT}:/checkout", f"--user={user}", "--volatile=overlay"]
    try:
        said = roots.inside(roots.lower(system), _BUILD, *words, options=options)
    except RootError as error:
        return str(error)
    raise AssertionError(f"it has built something: {said}")


def deb(system: System, version: str = "") -> Path:
    """The package for this system, under another version if one is given.  RootError."""
    assert system in BARE
    builds = CHECKOUT / "build" / f"debs-{system.value}"
    (builds / "build").mkdir(parents=True, exist_ok=True)
    folder = builds / f"{version or 'own'}-{_digest()}"
    base = _builder(system)
    with roots.locked(builds):
        if not list(folder.glob("*.deb")):
            for old in builds.glob(f"{version or 'own'}-*"):
                shutil.rmtree(old)
            folder.mkdir()
            for path in (builds / "build", folder):
                os.chown(path, _BUILDER, _BUILDER)
            binds = [f"--bind-ro={CHECKOUT}:/checkout", f"--bind={folder}:/out"]
            binds += [f"--bind={builds}/build:/checkout/build", f"--user={_BUILDER}"]
            binds.append(
                "--setenv=DPKG_DEB_COMPRESSOR_LEVEL=1"
            )  # else half of the time is for that
            words = ["--version", version] if version else []
            roots.inside(base, _BUILD, *words, "/out", options=[*roots.offline(base), *binds])
    (made,) = folder.iterdir()
    return made


def lint(system: System, package: Path) -> str:
    """What lintian has to say of it.  RootError."""
    options = ["--volatile=overlay", "--private-network", f"--bind-ro={package}:/{package.name}"]
    options.append(f"--user={_BUILDER}")
    words = ("lintian", "--fail-on=none", f"/{package.name}")
    return roots.inside(_builder(system), *words, options=options)


def _builder(system: System) -> Path:
    asked = re.search(r"as root: (apt-get install .+)", refusal(system))
    assert asked is not None
    packages = asked[1].replace("install", "-q -y install --no-install-recommends", 1)
    return roots.grown(
        roots.lower(system),
        *("apt-get -q update", f"{packages} lintian", f"useradd --uid {_BUILDER} builder"),
    )


def _digest() -> str:
    """Of all that goes into a package."""
    total = hashlib.sha256()
    for top in _SOURCES:
        path = CHECKOUT / top
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix not in _MADE:
                total.update(f"{file.relative_to(CHECKOUT)} {file.stat().st_mode}".encode())
                total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()[:12]
