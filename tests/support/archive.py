"""A real archive process without a daemon: the test writes segments, tells the load, listens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from capd import index
from capd.catalog import Catalog, Segment, everything
from capd.index import Index
from capd.messages import (
    MAX_MESSAGE,
    ArchiveAdjust,
    ArchivePlan,
    ArchiveReport,
    ArchiveStart,
    Event,
    Load,
    Look,
    Message,
    decode,
    encode,
)
from capd.names import SegmentName
from capd.sections import read_section
from tests.support.traffic import START, Traffic, write_segment
from tests.support.wait import wait_for

SECTION = 512 * 1024
RELAXED = Load(0.0, late=False)
BUSY = Load(0.5, late=False)
_TOLD_EVERY = 0.2  # s


def plan(directory: Path, **changes: Any) -> ArchivePlan:
    """To compress everything, by one thread."""
    made = ArchivePlan(
        str(directory), require_mount=False, compress=True, level=3, threads=1, section_size=SECTION
    )
    return made._replace(**changes)


class Office:
    """An archive process, and the next one after it."""

    def __init__(self, made: ArchivePlan) -> None:
        self.plan = made
        self.load: Load | None = RELAXED  # None: nothing is told
        self.heard: list[Message] = []
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """A process, under the plan that holds now."""
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [sys.executable, "-I", "-m", "capd.archive", str(theirs.fileno())]
        self._control.send(encode(ArchiveStart(self.plan)))
        self._process = subprocess.Popen(argv, pass_fds=[theirs.fileno()])
        theirs.close()
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._listen, args=(self._control,), daemon=True),
            threading.Thread(target=self._talk, args=(self._control, self._over), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def send(self, message: Message) -> None:
        """Tell it; a dead one does not hear."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._control.send(encode(message))

    def look(self) -> None:
        """A segment was closed."""
        self.send(Look())

    def tell(self, load: Load) -> None:
        """Another load, at once and from now on."""
        self.load = load
        self.send(load)

    def adjust(self, **changes: Any) -> None:
        """Another plan."""
        self.plan = self.plan._replace(**changes)
        self.send(ArchiveAdjust(self.plan))

    def wait(self, timeout: float = 20) -> int:
        """Its exit status."""
        assert self._process is not None
        status = self._process.wait(timeout)
        self._end()
        return status

    def terminate(self) -> int:
        """SIGTERM; its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def hang_up(self) -> int:
        """The daemon's end of the socket is closed; its exit status."""
        self._control.shutdown(socket.SHUT_RDWR)
        return self.wait()

    def kill(self) -> None:
        """SIGKILL; it is gone afterwards."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._end()

    @property
    def report(self) -> ArchiveReport | None:
        """What it told last."""
        reports = (one for one in reversed(self.heard) if isinstance(one, ArchiveReport))
        return next(reports, None)

    def wait_report(self, timeout: float = 20, **wanted: Any) -> ArchiveReport:
        """The first one from now on that says all this."""
        start = len(self.heard)

        def told() -> ArchiveReport | None:
            for one in self.heard[start:]:
                if isinstance(one, ArchiveReport) and wanted.items() <= one._asdict().items():
                    return one
            return None

        found = wait_for(told, timeout, f"{wanted} among {self.heard[-3:]}")
        assert found is not None
        return found

    def wait_idle(self, timeout: float = 30) -> ArchiveReport:
        """Until it has found what there is, and there is nothing to do any more."""
        self.look()
        self.wait_report(timeout, backlog=0, raw_left=0)
        return self.wait_report(timeout, backlog=0, raw_left=0)

    @property
    def events(self) -> list[Event]:
        """What it said that people should read."""
        return [one for one in self.heard if isinstance(one, Event)]

    def _end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()
        self._control.close()
        self._process = None

    def _talk(self, control: socket.socket, over: threading.Event) -> None:
        while True:
            if self.load is not None:
                with suppress(OSError):
                    control.send(encode(self.load))
            if over.wait(_TOLD_EVERY):
                return

    def _listen(self, control: socket.socket) -> None:
        while True:
            try:
                datagram = control.recv(MAX_MESSAGE)
            except ConnectionResetError:
                return
            if not datagram:
                return
            self.heard.append(decode(datagram))


@contextmanager
def office(made: ArchivePlan, **attributes: Any) -> Iterator[Office]:
    """One that is started already."""
    one = Office(made)
    for name, value in attributes.items():
        setattr(one, name, value)
    one.start()
    try:
        yield one
    finally:
        one.kill()
        print("the archive process said:", *one.heard, sep="\n")  # pytest shows it in a failure


class Shelf:
    """A capture directory, and what was put there."""

    def __init__(self, directory: Path, seed: int = 1) -> None:
        self.directory = directory
        self.contents: dict[int, bytes] = {}  # by number
        self._traffic = Traffic(seed, pool=2**19)

    def add(self, seq: int, size: int = 3 * SECTION, ring: str = "v0", suffix: str = "") -> Path:
        """A closed segment, which appears all at once as from a worker."""
        name = SegmentName(ring, START + seq * 10**9, seq, ".pcapng" + suffix)
        folder = self.directory / ring / name.folder
        folder.mkdir(parents=True, exist_ok=True)
        draft = self.directory / "draft"
        write_segment(draft, size, self._traffic, name.stamp)
        self.contents[seq] = draft.read_bytes()
        with draft.open("rb") as file:  # as a worker does, past the page cache
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        draft.rename(folder / name.file)
        return folder / name.file

    @property
    def segments(self) -> list[Segment]:
        """All that a scan finds."""
        return list(everything(Catalog(str(self.directory)).scan()))

    @property
    def files(self) -> list[str]:
        """The names of all files."""
        return sorted(path.name for path in self.directory.rglob("*") if not path.is_dir())

    def check(self, *, compressed: bool = True) -> None:
        """Each segment is there once, indexed, with the bytes it had, and nothing else is."""
        found = self.segments
        assert sorted(one.seq for one in found) == sorted(self.contents)
        expected = []
        for one in found:
            assert one.indexed, one
            assert len(one.suffixes) == 2, one
            assert (".zst" in one.suffix) == compressed, one
            expected += [os.path.basename(file) for file in one.files]
            assert read_back(self.directory / one.path) == self.contents[one.seq]
        assert self.files == sorted(expected)


def index_of(path: Path) -> Index:
    """The index beside a data file."""
    return index.decode(Path(f"{path}.idx").read_bytes())


def read_back(path: Path) -> bytes:
    """A segment's bytes, section by section; each must be what the index says."""
    contents = index_of(path)
    assert contents.stored_size == path.stat().st_size
    with path.open("rb") as file:
        numbers = range(len(contents.sections))
        return b"".join(read_section(file.fileno(), contents, number) for number in numbers)
