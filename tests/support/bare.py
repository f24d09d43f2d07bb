"""A bare Debian to run commands in as on a machine of its own: what `tests/bare` is made of.

Not by chroot, in which nothing can make a user namespace, nor by systemd-nspawn, in which nothing
can load a BPF program: the root of a mount namespace is changed to it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import roots
from tests.support.roots import CERTIFICATES, CHECKOUT, System

_SYSTEMS = {"12": System.BARE_12, "13": System.BARE_13}
_CLONE = "root/capd"
_TRUSTED = "etc/trusted.crt"  # a package of certificates writes over those of Debian
_OLD = "mnt"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_ENTER = f"""
root=$1; shift
mount --bind "$root" "$root"; cd "$root"
mount --rbind /sys sys; mount --rbind /dev dev; mount -t proc proc proc
mount -t tmpfs tmpfs run; mount -t tmpfs tmpfs tmp
pivot_root . {_OLD}; cd /{_CLONE}
umount --lazy /{_OLD}
exec "$@"
"""


@contextmanager
def bare(system: System) -> Iterator[Path]:
    """Its root file system, with a clone of this checkout; gone afterwards.  RootError."""
    with tempfile.TemporaryDirectory(prefix="capd-bare-", dir="/var/tmp") as made:
        root = Path(made)
        root.chmod(0o755)
        subprocess.run(["cp", "-a", f"{roots.lower(system)}/.", str(root)], check=True)
        trust = f"safe.directory={CHECKOUT}/.git"  # whoever owns it
        clone = ["git", "-c", trust, "clone", "--quiet", f"file://{CHECKOUT}", f"{root}/{_CLONE}"]
        subprocess.run(clone, check=True)
        for file in ("etc/resolv.conf", "etc/hosts"):
            (root / file).unlink(missing_ok=True)
            (root / file).write_bytes(Path("/", file).read_bytes())
        if CERTIFICATES.exists():
            (root / _TRUSTED).write_bytes(CERTIFICATES.read_bytes())
        yield root


def run(root: Path, *argv: str) -> int:
    """A command in the clone there; gives its exit code."""
    environment = {"PATH": _PATH, "HOME": "/root", **roots.proxies()}
    if (root / _TRUSTED).exists():
        environment["PIP_CERT"] = f"/{_TRUSTED}"
    environment |= {name: os.environ[name] for name in ("CI", "TERM") if name in os.environ}
    return subprocess.run(
        ["unshare", "--mount", "bash", "-euc", _ENTER, "bash", str(root), *argv],
        env=environment,
        check=False,
    ).returncode


if __name__ == "__main__":
    with bare(_SYSTEMS[sys.argv[1]]) as place:
        sys.exit(run(place, "tests/run", *sys.argv[2:]))
