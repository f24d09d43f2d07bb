"""A clone of this checkout on a bare Debian, set up there by packaging/setup with the network.

What that leaves is kept, as long as nothing changes that it looks at.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.support import roots
from tests.support.roots import CHECKOUT, System

PLACE = "/root/capd"


def set_up(system: System) -> Path:
    """A root file system with a clone in PLACE after packaging/setup.  RootError."""
    digest = hashlib.sha256()
    for path in _files():
        if path.suffix in {".c", ".h"} or str(path) in {"pyproject.toml", "packaging/setup"}:
            digest.update((CHECKOUT / path).read_bytes())
    with tempfile.TemporaryDirectory() as clone:
        _copy(Path(clone))
        return roots.grown(
            roots.lower(system),
            f"cp -r /clone {PLACE} # {digest.hexdigest()[:12]}",
            f"{PLACE}/packaging/setup",
            options=[f"--bind-ro={clone}:/clone"],
        )


def refresh(root: Path) -> None:
    """The sources as they are now, into a root file system that was made from such a one."""
    _copy(root / PLACE.removeprefix("/"))


def _copy(folder: Path) -> None:
    for path in _files():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(CHECKOUT / path, target)


def _files() -> list[Path]:
    """What is in the repository, or about to be."""
    trust = f"safe.directory={CHECKOUT}"  # whoever owns it
    listing = subprocess.run(
        ["git", "-c", trust, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    names = listing.stdout.split("\0")
    return [Path(name) for name in sorted(names) if name and (CHECKOUT / name).is_file()]
