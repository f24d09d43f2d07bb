"""The file that an extraction makes: pcapng or pcap, to a file or into a pipe.

pcapng: a section header that says what was asked, a description for each interface before its
first packet, the packets, and at the end statistics of each interface with the statement on what
is missing, because only then it is known.
"""

from __future__ import annotations

import os
import select
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from capd import pcapng
from capd.errors import StorageError, UsageError
from capd.query import _merge
from capd.query.ringstream import Run
from capd.survey import Content

Format = Literal["pcapng", "pcap"]

BUFFER = 2 * 2**20  # bytes; the longest record fits several times
_CLASSIC_MAGIC = 0xA1B23C4D  # pcap with nanoseconds
_CLASSIC_HEADER = struct.Struct("=IHHiIII")


@dataclass(frozen=True)
class Interface:
    """One in the file."""

    name: str
    link_type: int


class Output:
    """One file; as a context, for as long as it is written."""

    def __init__(self, path: str, form: Format, snaplen: int) -> None:
        """`path`: "-" for stdout.  StorageError, UsageError."""
        self.packets = 0
        self.reader_gone = False  # nobody reads the pipe any more: there is no need to go on
        self.by_interface: dict[Interface, int] = {}
        self._classic = form == "pcap"
        self._snaplen = snaplen
        self._numbers: dict[Interface, int] = {}
        self._buffer = bytearray(BUFFER)
        self._path = path
        self._fd = _opened(path)

    def close(self) -> None:
        """The file is complete.  StorageError: the disk did not take all of it."""
        if self._path != "-":
            try:
                os.close(self._fd)
            except OSError as error:
                raise self._failed(error) from error

    def begin(self, comment: str) -> None:
        """Write what comes before everything else; a pcap has its header with its interface."""
        if not self._classic:
            self._write(pcapng.section(comment))

    def number(self, interface: Interface) -> int:
        """That of an interface in the file.  UsageError: there can be no other in a pcap."""
        known = self._numbers.get(interface)
        if known is not None:
            return known
        if self._classic:
            if any(other.link_type != interface.link_type for other in self._numbers):
                raise UsageError(
                    f"a pcap file has one kind of link, and {interface.name} is of another than "
                    f"{next(iter(self._numbers)).name}; use --format pcapng, or --interface"
                )
            if not self._numbers:
                self._write(_classic_header(interface.link_type))
        else:
            self._write(pcapng.interface(interface.name, interface.link_type))
        self._numbers[interface] = len(self._numbers)
        self.by_interface[interface] = 0
        return self._numbers[interface]

    def write(self, runs: Sequence[tuple[Interface, Run]], up_to: int, most: int) -> None:
        """Write what is stamped before `up_to`, in the order of time, but no more than `most`.

        Where there is nothing to write, whoever reads may have gone all the same.
        """
        self.reader_gone |= self._told(0, 0)  # of a closed pipe nobody has to ask
        numbered = [(self.number(interface), run) for interface, run in runs]
        while most > 0 and not self.reader_gone:
            listed: list[tuple[Content, bytearray, int, int]] = [
                (run.content, run.entries, run.written, number) for number, run in numbered
            ]
            size, packets, places = _merge.merge(
                listed, up_to, self._buffer, self._snaplen, self._classic, most
            )
            if not packets:
                return
            for (interface, run), place in zip(runs, places, strict=True):
                self.by_interface[interface] += place - run.written
                run.written = place
            self.packets += packets
            most -= packets
            self._write(memoryview(self._buffer)[:size])

    def finish(self, statement: str, now: int) -> None:
        """Write each interface's statistics, with what is missing; a pcap has no room for them."""
        if not self._numbers:  # readers refuse a file without an interface
            self.number(Interface("none", pcapng.LINKTYPE_ETHERNET))
        if self._classic:
            return
        for interface, number in self._numbers.items():
            count = self.by_interface[interface]
            self._write(
                pcapng.statistics(now, now, now, count, 0, count, statement, interface=number)
            )

    def _told(self, events: int, timeout: int | None) -> bool:
        """Whether any of these, or the end of a pipe, came within so many milliseconds."""
        asked = select.poll()
        asked.register(self._fd, events)
        return bool(asked.poll(timeout))

    def _write(self, content: bytes | memoryview) -> None:
        view = memoryview(content)
        while view and not self.reader_gone:
            try:
                view = view[os.write(self._fd, view) :]
            except BrokenPipeError:
                self.reader_gone = True
            except BlockingIOError:  # it is shared with somebody who does not wait
                self._told(select.POLLOUT, None)
            except OSError as error:
                raise self._failed(error) from error

    def _failed(self, error: OSError) -> StorageError:
        name = "stdout" if self._path == "-" else self._path
        return StorageError(f"cannot write packets to {name}: {error.strerror}")


def _classic_header(link_type: int) -> bytes:
    return _CLASSIC_HEADER.pack(_CLASSIC_MAGIC, 2, 4, 0, 0, pcapng.SNAPLEN, link_type)


def _opened(path: str) -> int:
    if path == "-":
        if sys.stdout is None:  # closed by who started this: `>&-`
            raise UsageError("stdout is closed: use -o FILE, or a pipe")
        fd = sys.stdout.fileno()
        if os.isatty(fd):
            raise UsageError("packets are no text for a terminal: use -o FILE, or a pipe")
        return fd
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror}") from error


def refuse_inside(path: str, directories: Sequence[str]) -> None:
    """UsageError for a file among the segments: it might be one of them."""
    if path == "-":
        return
    real = os.path.realpath(path)
    for directory in directories:
        if os.path.commonpath((real, os.path.realpath(directory))) == os.path.realpath(directory):
            raise UsageError(f"{path} is in the capture directory {directory}: write it elsewhere")
