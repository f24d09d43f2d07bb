"""Mixed traffic on one interface: recorded by capd in every state, and by a tap for each filter.

    v1 -> v0        most frames come in
          v0 ->     some go out; none with a tag, which the kernel would leave in the frame
                    if a raw socket sent it, and a reader could not know that

The oldest segments are compressed, the next ones raw, all of these indexed; the last is open.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import zstandard

from capd import index as indexes
from capd.catalog import Catalog, everything
from tests.support import mixed
from tests.support.judge import packets
from tests.support.net import Namespace, inside
from tests.support.recorder import Recorder, parts, segments, write_config
from tests.support.sections import index_of
from tests.support.taps import Taps
from tests.support.wait import wait_for

COMPRESSED, RAW = 3, 3  # segments
_PIECES = COMPRESSED + RAW + 2  # one stays open, and one may be done before the reload is
_COMPRESS = "[compression]\nenabled = true\n"
_CAPTURE = 'ring_size = "16MiB"\nflush_interval = "100ms"\nrecord_direction = true\n'
_SMALL = 6000  # bytes of a section; the least that capd makes is 512 KiB
_SECOND = 1_000_000_000

Sent = tuple[str, bytes]
"""The interface that a frame leaves by, and what is on the wire."""


@dataclass(frozen=True)
class Corpus:
    """What was recorded, and what should come out of it."""

    config: Path
    ring: Path  # its folder
    runtime: str
    since: int  # ns since 1970: the first frame
    until: int  # after the last one
    sent: list[bytes]  # all frames as they are on the wire, in order
    taken: dict[str, list[bytes]]  # by filter

    def indices(self) -> list[Path]:
        """Of the finished segments."""
        return sorted(self.ring.glob("*/*.idx"))

    def without_indices(self, folder: Path) -> Path:
        """A config for a copy without them: here, the archive process would make them anew."""
        leave = shutil.ignore_patterns("*.idx")
        shutil.copytree(self.ring, folder / self.ring.name, ignore=leave)
        return _write(folder, "", "1h")

    def in_small_sections(self, folder: Path) -> Path:
        """A config for a copy in which few frames share a sketch; all of it is raw."""
        config = self.without_indices(folder)
        for path in (folder / self.ring.name).glob("*/*.pcapng*"):
            content = path.read_bytes()
            if path.suffix == ".zst":
                path.unlink()
                content = zstandard.ZstdDecompressor().stream_reader(content).read()
            raw = path.with_name(path.name.removesuffix(".zst"))
            raw.write_bytes(content)
            index = indexes.encode(index_of(content, _SMALL))
            raw.with_name(f"{raw.name}.idx").write_bytes(index)
        return config


@contextmanager
def recorded(namespace: Namespace, folder: Path, filters: Sequence[str]) -> Iterator[Corpus]:
    """The corpus, while capd goes on recording: the last segment stays open."""
    namespace.add_veth("v0", "v1")
    plan = _plan()
    config = _write(folder, _COMPRESS, "1s")
    with Recorder(namespace, config) as capd, Taps(namespace.name, "v0", filters) as taps:
        capd.wait_capturing("v0")
        taken: dict[str, list[bytes]] = {text: [] for text in filters}
        size = -(-len(plan) // _PIECES)
        for number in range(_PIECES):
            _send(namespace.name, plan[number * size : (number + 1) * size])
            for text, frames in taps.take().items():
                taken[text] += frames
            if number == COMPRESSED:
                _wait_for(folder, COMPRESSED, ".zst")
                _write(folder, "", "1s")
                capd.reload()
            _wait_written(folder, plan[(number + 1) * size - 1 : (number + 1) * size] or plan[-1:])
            if number == _PIECES - 1:
                break
            _wait_next_second()
        assert taps.dropped() == []
        _write(folder, "", "1h")
        capd.reload()
        _wait_for(folder, RAW, ".pcapng")
        sent = [frame for _, frame in plan]
        since = min(each.stamp for each in everything(Catalog(f"{folder}").scan()))
        # Copies of it are not recorded any further.
        until = 1 + max(packet.time for path in parts(folder, "v0") for packet in packets(path))
        yield Corpus(config, folder / "v0", capd.runtime, since, until, sent, taken)
        assert capd.stop() == 0
        assert len(segments(folder, "v0")) >= RAW + 1


def _write(folder: Path, tables: str, rotate: str) -> Path:
    capture = f'{_CAPTURE}rotate_interval = "{rotate}"\n{tables}'
    return write_config(folder / "capd.toml", folder, "v0", capture=capture)


def _plan() -> list[Sent]:
    """Which way every frame goes."""
    return [(_way(number, frame), frame) for number, frame in enumerate(mixed.frames())]


def _way(number: int, frame: bytes) -> str:
    return "v1" if number % 5 or mixed.is_tagged(frame) else "v0"


def _send(namespace: str, plan: Iterable[Sent]) -> None:
    """In this order, also as the taps see them: on one processor the frames stay in line."""
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})
    try:
        with ExitStack() as stack, inside(namespace):
            ways = {}
            for name in ("v0", "v1"):
                ways[name] = stack.enter_context(
                    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
                )
                ways[name].bind((name, 0))
            for name, frame in plan:
                ways[name].send(frame)
    finally:
        os.sched_setaffinity(0, processors)


def _wait_written(folder: Path, last: Sequence[Sent]) -> None:
    """Until the frame is in a file, whatever has become of that."""
    ((_, frame),) = last
    wait_for(lambda: any(frame in content for content in _contents(folder)), 20, "the frames")


def _contents(folder: Path) -> Iterator[bytes]:
    """Of all segments; one that gets another name meanwhile is left out."""
    for path in (folder / "v0").rglob("*.pcapng*"):
        with contextlib.suppress(FileNotFoundError, zstandard.ZstdError):
            content = path.read_bytes()
            if path.suffix == ".zst":
                content = zstandard.ZstdDecompressor().stream_reader(content).read()
            yield content


def _wait_for(folder: Path, count: int, suffix: str) -> None:
    """Until so many segments, or more, are finished, in this state, with an index each."""

    def found() -> bool:
        ready = list((folder / "v0").glob(f"*/*{suffix}"))
        indexed = [path for path in ready if Path(f"{path}.idx").exists()]
        return len(ready) == len(indexed) >= count

    wait_for(found, 20, f"{count} segments with {suffix} and an index")


def _wait_next_second() -> None:
    """Until the next block belongs to another segment."""
    now = time.time_ns() // _SECOND
    wait_for(lambda: time.time_ns() // _SECOND != now, 20, "the next second")
