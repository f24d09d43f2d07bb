"""What there is: two directories on a disk, who works in them, and what the model knows of it."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import ClassVar

from capd.names import HOLD_FOLDER
from tests.modelling import queries, reader
from tests.modelling.book import Book
from tests.modelling.capture import RING, STREAM, Ring
from tests.modelling.clock import Clock
from tests.modelling.upkeep import Ground

FOREIGN = (
    "foreign", f"{RING}/foreign.pcapng", f"{RING}/0000000001.pcapng.part.bak",
    f"{RING}/2026-01-01/foreign_20260101T000000.000000000Z_0000000001.pcapng",
)  # fmt: skip


class Scene:
    """A capture directory and a second one; and looking at them."""

    place: Path  # where they are made; set by whoever runs this
    clock = Clock()
    happened: ClassVar[Counter[str]] = Counter()  # in all examples

    def _set(self) -> None:
        """Nothing is there but what is not capd's."""
        self.clock.set("right")
        self.first, self.second = self.place / "captures", self.place / "archive"
        for directory in (self.first, self.second):
            shutil.rmtree(directory, ignore_errors=True)
            directory.mkdir(0o750)
            for name in FOREIGN:
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                (directory / name).write_text(f"not capd's: {name}")
        self.foreign = reader.foreign([self.first, self.second])
        self.ground, self.book = Ground(self.first, self.second), Book()
        self.ring: Ring | None = None
        self.number = 0  # of the last packet
        self.holds_made = 0
        self.cut: set[Path] = set()  # open segments that a power cut has changed

    def _within(self, since: int, until: int) -> set[int]:
        return {n for n, at in self.book.packets.items() if since <= at < until}

    def _extracted(self, since: int = 0, until: int = 2**63 - 1, text: str = "") -> reader.Packets:
        asked = queries.Asked(since, until, text)
        damaged, cut = len(self.book.damaged), bool(self.cut)
        return queries.extract(self.ground.directories, asked, damaged=damaged, cut=cut)

    def _next(self) -> tuple[int, int]:
        self.number += 1
        return self.number, self.clock.tick()

    def _end_ring(self) -> None:
        if self.ring is not None:
            self.ring.close()
        self.ring = None

    def _waiting(self) -> list[int]:
        """Packets that may be in an open segment without being committed: their ring has them."""
        waiting = self.ring.waiting.values() if self.ring is not None else ()
        return [number for block in waiting for number in block]

    def _there(self) -> set[int]:
        return {seq for one in (self.first, self.second) for seq in reader.listing(one).finished}

    def _has_hold(self, identity: str) -> bool:
        return (self.first / HOLD_FOLDER / f"{identity}.json").exists()

    def _usable(self, one: reader.Found) -> bool:
        """Whether a segment has an index that can be read: that of its compressed data counts."""
        data = max(one.data, key=lambda path: path.suffix == ".zst")
        index = data.with_name(f"{data.name}.idx")
        return index in one.indexes and not reader.is_useless(index)

    def _see(self) -> list[int]:
        """Read all files, each segment once; what is finished must stay as it is."""
        names: dict[int, str] = {}
        parts: list[int] = []
        for directory in (self.first, self.second):
            found = reader.listing(directory)
            for seq, one in found.finished.items():
                assert names.setdefault(seq, one.stamp) == one.stamp, f"{seq} has two names"
                if one.is_damaged:
                    self.book.damaged.add(seq)
                    continue
                for path in one.data:
                    content = reader.packets(path)
                    self.book.see(seq, content)
                    first = min((stamp for _, stamp in content), default=one.begins)
                    assert first == one.begins, f"segment {seq} begins at {first}: {path}"
            for seq, path in found.parts.items():
                assert seq not in names, f"segment {seq} is finished and open"
                parts += [number for number, _ in reader.packets(path, cut_off=True)]
        finished = (number for seq in names for number, _ in self.book.segments.get(seq, ()))
        return [*finished, *parts]


assert STREAM.period % 16 == 0  # the flow of a packet follows from its number
