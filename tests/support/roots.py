"""Root file systems to boot: this machine's own, or a Debian, and capd put into them.

A Debian is made once and kept in CACHE, by debootstrap from where this machine's apt gets its
packages.  capd is put together once for each change of the sources, below build/ of the
checkout, and copied from there; a bare Debian is left to what installs itself (see debs.py).
"""

from __future__ import annotations

import enum
import fcntl
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent.parent
CACHE = Path("/var/cache/capd-tests")
CERTIFICATES = Path(os.environ.get("PIP_CERT", "/etc/ssl/certs/ca-certificates.crt"))

_KEPT = 7 * 86400  # seconds
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")
_MIRROR = "http://deb.debian.org/debian"
_PACKAGES = (  # what capd runs on, and is put together with
    *("systemd-sysv", "dbus", "iproute2", "libpcap-dev", "libpcap0.8t64", "procps"),
    *("gcc", "libc6-dev", "python3-dev", "python3-venv"),
    *("bsd-mailx", "dma"),  # a mailbox for alerts
)
_BARE = ("systemd-sysv", "dbus")
# What capd's package depends on waits there, as a booted machine has a network of its own.
_WAITING = (
    "apt-get -q update",
    "apt-get -q -y install --download-only --no-install-recommends python3 libpcap0.8",
)
# What packaging/install makes anew each time; its virtual environment takes longer.
_QUICK = (
    *("etc", "usr/bin", "usr/lib/systemd", "usr/lib/sysusers.d", "usr/lib/tmpfiles.d"),
    "usr/share",
)


class System(enum.Enum):
    """What a machine runs."""

    HOST = "host"  # what this machine runs
    DEBIAN_13 = "debian13"
    BARE_12 = "bare12"  # of Debian what boots, and nothing else
    BARE_13 = "bare13"


WITH_CAPD = (System.HOST, System.DEBIAN_13)
BARE = (System.BARE_12, System.BARE_13)
_SUITES = {System.DEBIAN_13: "trixie", System.BARE_12: "bookworm", System.BARE_13: "trixie"}


class RootError(Exception):
    """A root file system that cannot be had here."""


def lower(system: System) -> Path:
    """The root file system without capd, to be looked at only.  RootError."""
    if system is System.HOST:
        return Path("/")
    if system in BARE:
        return grown(_debian(_SUITES[system], _BARE), *_WAITING)
    return _debian(_SUITES[system], _PACKAGES)


def put_capd(system: System, root: Path) -> None:
    """What packaging/install makes for this system, into the root file system at `root`."""
    layer = CHECKOUT / "build" / f"layer-{system.value}"
    layer.mkdir(parents=True, exist_ok=True)
    with locked(layer):
        for folder in _QUICK:
            shutil.rmtree(layer / folder, ignore_errors=True)
        if system is System.HOST:
            _run(str(CHECKOUT / "packaging" / "install"), str(layer))
        else:
            _install_inside(lower(system), layer)
        _run("cp", "-a", str(layer / "etc"), str(layer / "usr"), str(root))


def _install_inside(base: Path, layer: Path) -> None:
    """There by its own Python; what that needs comes from here, where the network is."""
    inside(
        base,
        *("/checkout/packaging/install", "/layer"),
        options=(f"--bind={CHECKOUT}:/checkout", f"--bind={layer}:/layer", *offline(base)),
    )


def offline(base: Path) -> list[str]:
    """Options for `inside`: no network, what pip is asked for is here, and nothing is kept."""
    python = (base / "usr/bin/python3").readlink().name
    return [
        *("--volatile=overlay", "--private-network"),
        f"--bind-ro={_wheels(python.removeprefix('python'))}:/wheels",
        *("--setenv=PIP_NO_INDEX=1", "--setenv=PIP_FIND_LINKS=/wheels"),
    ]


def inside(root: Path, *argv: str, options: Iterable[str] = ()) -> str:
    """Run a program in there, without booting it; gives what it prints.  RootError."""
    return _run(
        *("systemd-nspawn", "--quiet", f"--directory={root}", "--as-pid2", "--register=no"),
        *("--keep-unit", "--setenv=DEBIAN_FRONTEND=noninteractive", *options, "--", *argv),
    )


def grown(base: Path, *commands: str, options: Iterable[str] = ()) -> Path:
    """A copy in which these shell commands were run, with the network; kept.  RootError."""
    digest = hashlib.sha256("\n".join([base.name, *commands]).encode()).hexdigest()[:8]

    def make(root: Path) -> None:
        _run("cp", "-a", f"{base}/.", str(root))
        inside(root, "sh", "-exc", "\n".join(commands), options=[*_online(), *options])

    return _kept(f"{base.name.partition('-')[0]}-{digest}", make)


def _online() -> list[str]:
    """Options for `inside`: this machine's network, its proxies, and the certificates it trusts."""
    options = ["--resolv-conf=copy-host"]
    options += [f"--setenv={name}={value}" for name, value in proxies().items()]
    if CERTIFICATES.exists():
        options += [f"--bind-ro={CERTIFICATES}:/run/trusted", "--setenv=PIP_CERT=/run/trusted"]
    return options


def proxies() -> dict[str, str]:
    """The variables that have a command reach what this machine's own commands and apt reach."""
    _mirror()  # puts apt's among them
    return {name: os.environ[name] for name in _PROXIES if name in os.environ}


def _debian(suite: str, packages: tuple[str, ...]) -> Path:
    digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:8]

    def make(root: Path) -> None:
        include = f"--include={','.join(packages)}"
        # What it mounts in there goes with it, however it ends.
        _run(
            *("unshare", "--mount", "debootstrap", "--variant=minbase", include),
            *(suite, str(root), _mirror()),
        )

    return _kept(f"{suite}-{digest}", make)


def _mirror() -> str:
    """Where this machine's apt gets Debian from; its proxy goes into the environment."""
    shown = ("apt-get", "indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)")
    found = re.search(r"^Debian Debian (http\S+)$", _run(*shown), re.MULTILINE)
    proxy = re.search(r"='(.+)'", _run("apt-config", "shell", "proxy", "Acquire::http::Proxy"))
    if proxy is not None:
        os.environ.setdefault("http_proxy", proxy[1])
    return found[1] if found is not None else _MIRROR


def _wheels(version: str) -> Path:
    """A folder with everything that packaging/install fetches, for this version of Python."""
    locks = sorted((CHECKOUT / "packaging").glob("requirements*.txt"))
    digest = hashlib.sha256(b"".join(lock.read_bytes() for lock in locks)).hexdigest()[:8]

    def make(wheels: Path) -> None:
        machine = platform.machine()
        systems = [f"manylinux2014_{machine}", f"manylinux_2_28_{machine}"]
        _run(
            *(str(CHECKOUT / ".venv/bin/python"), "-m", "pip", "--quiet", "download"),
            *("--only-binary=:all:", "--python-version", version, "--dest", str(wheels)),
            *(f"--platform={system}" for system in systems),
            *("--require-hashes", *(f"--requirement={lock}" for lock in locks)),
        )

    return _kept(f"wheels-{version}-{digest}", make)


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    """A directory in CACHE, made once; what nobody has asked for in a while goes."""
    path = CACHE / name
    CACHE.mkdir(exist_ok=True)
    with locked(CACHE):
        if not path.exists():
            for old in CACHE.iterdir():
                if time.time() - old.stat().st_mtime > _KEPT:
                    shutil.rmtree(old, ignore_errors=True)
            with _new(path) as new:
                make(new)
        os.utime(path)
    return path


@contextmanager
def _new(path: Path) -> Iterator[Path]:
    """A directory that gets this name when all went well, and goes otherwise."""
    made = Path(tempfile.mkdtemp(dir=path.parent))
    try:
        made.chmod(0o755)
        yield made
        made.rename(path)
    except BaseException:
        shutil.rmtree(made, ignore_errors=True)
        raise


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Nobody else who asks for this is in there meanwhile."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _run(*argv: str) -> str:
    done = subprocess.run(
        argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        said = f"{done.stdout}{done.stderr}".strip().splitlines()[-10:]
        raise RootError("\n".join([f"{argv[0]} ended with {done.returncode}", *said]))
    return done.stdout
