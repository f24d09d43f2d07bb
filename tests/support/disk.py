"""Small disks that fill up, break and go away, and system calls that fail on demand."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.wait import wait_for

_FICLONE = 0x40049409  # <linux/fs.h>


class Disk:
    """A mounted file system of its own; `path` is where."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._filler = path / "filler"

    @property
    def free(self) -> int:
        """Bytes that root can still write."""
        status = os.statvfs(self.path)
        return status.f_bfree * status.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Someone else's file takes all the space but `leave` bytes."""
        filler = os.open(self._filler, os.O_WRONLY | os.O_CREAT, 0o600)
        chunk = step = os.statvfs(self.path).f_frsize
        while chunk * 2 <= self.free:
            chunk *= 2
        try:
            while chunk >= step:
                # Not what statvfs says but what the file system refuses is the end.
                if (leave and self.free - leave < chunk) or not _grow(filler, chunk):
                    chunk //= 2
            os.fsync(filler)
        finally:
            os.close(filler)

    def clear(self) -> None:
        """That file is deleted."""
        self._filler.unlink()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Whoever writes to it meanwhile waits in the kernel, and cannot even be killed."""
        _run("fsfreeze", "--freeze", str(self.path))
        try:
            yield
        finally:
            _run("fsfreeze", "--unfreeze", str(self.path))

    def abort(self) -> None:
        """What the kernel does to an ext4 whose disk breaks: read-only, at once, for good."""
        _run("mount", "-o", "remount,abort", str(self.path))


def _grow(file: int, size: int) -> bool:
    try:
        os.posix_fallocate(file, os.fstat(file).st_size, size)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False
    return True


@contextlib.contextmanager
def mounted(kind: str, below: Path, size: int, *options: str) -> Iterator[Disk]:
    """An ext4 or xfs in a file, a tmpfs or a ramfs (which has no limit) of `size` bytes.

    `options`: for mkfs.
    """
    place = below / f"disk-{kind}"
    place.mkdir()
    image = below / "disk.img"
    if kind in ("ext4", "xfs"):
        image.write_bytes(b"")
        os.truncate(image, size)
        _run(f"mkfs.{kind}", "-q", "-F" if kind == "ext4" else "-f", *options, str(image))
        _run("mount", "-o", "loop", str(image), str(place))
    else:
        _run("mount", "-t", kind, "-o", f"size={size},mode=750", kind, str(place))
    try:
        place.chmod(0o750)
        yield Disk(place)
    finally:
        _run("umount", "--lazy", str(place))
        image.unlink(missing_ok=True)


@contextlib.contextmanager
def attached(image: Path, place: Path) -> Iterator[None]:
    """The file system in a file is mounted at `place` meanwhile."""
    place.mkdir()
    _run("mount", "-o", "loop", str(image), str(place))
    try:
        yield
    finally:
        _run("umount", "--lazy", str(place))


def clone(source: Path, target: Path) -> None:
    """A file of an XFS as it is at this moment, whoever writes to it."""
    with source.open("rb") as before, target.open("wb") as after:
        fcntl.ioctl(after, _FICLONE, before.fileno())


def detach(pid: int, path: Path) -> None:
    """`umount --lazy`, as process `pid` sees it."""
    _run("nsenter", f"--mount=/proc/{pid}/ns/mnt", "umount", "--lazy", str(path))


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(argv)}: {done.stderr.strip()}")


class Faults:
    """Meanwhile, system calls of a running process fail as strace's `inject` says.

    `calls` is a list of names with commas; `how` for example `error=EIO:when=3`, counted in
    each thread and for each name by itself; of one thread only if `only` is its id.  The log
    has these calls, and those named in `also`.
    """

    def __init__(
        self, pid: int, calls: str, how: str, log: Path, *, only: int = 0, also: str = ""
    ) -> None:
        self._log = log
        traced = f"{calls},{also}" if also else calls
        argv = ["strace", "-p", str(only)] if only else ["strace", "-f", "-p", str(pid)]
        argv += ["-e", f"trace={traced}", "-o", str(log), "-e", f"inject={calls}:{how}"]
        self._tracer = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
        assert self._tracer.stderr is not None
        told = self._tracer.stderr.readline()
        if not re.search(r"Process \d+ attached", told):
            self.close()
            raise OSError(f"{' '.join(argv)}: {told}")
        threads = 1 if only else len(os.listdir(f"/proc/{pid}/task"))
        wait_for(lambda: _is_held(pid, threads), 10, "strace to hold every thread")

    @property
    def injected(self) -> list[str]:
        """The calls that were made to fail, as strace shows them."""
        lines = self._log.read_text(errors="replace").splitlines()
        return [line for line in lines if "(INJECTED)" in line]

    def close(self) -> None:
        """Calls succeed again."""
        with self._tracer:
            if self._tracer.poll() is None:
                self._tracer.send_signal(signal.SIGINT)
                # Told to let go of a process of several threads that dies just then, it waits for
                # the first thread, and that for the tracer to take in the others.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._tracer.wait(10)
                self._tracer.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _is_held(pid: int, threads: int) -> bool:
    """Whether so many are; or gone, as the first call that fails may kill."""
    try:
        return sum(map(_is_traced, Path(f"/proc/{pid}/task").iterdir())) >= threads
    except (FileNotFoundError, ProcessLookupError):
        return True


def _is_traced(task: Path) -> bool:
    status = (task / "status").read_text()
    return re.search(r"^State:\s+[ZX]|^TracerPid:\s+[1-9]", status, re.MULTILINE) is not None
