"""The rules: what may happen to a capture directory, and what must be so after each of it.

Whatever is drawn means something in every state (places are counted from the oldest on, and
around), so that a sequence that fails can be shortened at any place.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from capd.daemon.remains import Living
from capd.daemon.retention import Policy
from capd.holds import Hold
from tests.modelling import book as books
from tests.modelling import queries, reader
from tests.modelling.capture import MOST, RING, Ring
from tests.modelling.clock import DAY, HOUR, SETTINGS, STEPS
from tests.modelling.dying import LIFE, Death
from tests.modelling.scene import Scene
from tests.modelling.upkeep import EXPECTED, Turn, free

ROOM = 8 * 2**20  # bytes to be free before more is captured: a full disk is no part of this
SIZES = st.sampled_from((1, 2, 30, MOST))  # packets of a block
AFTER = st.sampled_from((("rotate",), ("rotate",), ("keep",), ("renew",), ("sync",), ()))
BLOCKS = st.lists(st.tuples(SIZES, AFTER), min_size=2, max_size=8)
ENDS = st.sampled_from(((), ("finish",), ("keep",)))
DEATHS = st.one_of(
    st.just(LIFE), st.builds(Death, st.integers(1, 40), st.integers(0, 8)), st.just(LIFE)
)
WHICH = st.integers(0, 11)
RULES = ("max_age", "max_files", "max_size", "min_free")
SOON = st.one_of(st.just(LIFE), st.builds(Death, st.integers(1, 12), st.just(0)))  # of few calls
SECOND = st.sampled_from((False, False, True))  # where less is
PERCENT = st.integers(0, 100)


class Directory(Scene, RuleBasedStateMachine):
    """Whatever happens to a capture directory and a second one, on a disk of their own."""

    @initialize()
    def begin(self) -> None:
        """Nothing has happened yet."""
        self._set()

    # What capture does.

    @rule(blocks=BLOCKS, end=ENDS, death=DEATHS)
    def capture(
        self, blocks: list[tuple[int, tuple[str, ...]]], end: tuple[str, ...], death: Death
    ) -> None:
        """A worker, or the next one on the same ring: it leaves, ends the ring, or is killed."""
        if free(self.place)[0] < ROOM:
            return
        if self.ring is None:
            self.ring = Ring(str(self.first))
        steps: list[str] = []
        for size, after in blocks:
            if self.ring.has_room:
                self.ring.fill(dict(self._next() for _ in range(size)))
            steps += ["take", *after]
        lived = self.ring.work([*steps, *end], death)
        self.happened["workers killed"] += not lived
        self.book.packets |= self.ring.committed()
        self._see()
        if lived and "finish" in end:
            assert not self.ring.waiting
            self._end_ring()

    @rule(how=st.sampled_from((*STEPS, *SETTINGS)))
    def set_clock(self, how: str) -> None:
        """The clock: a step, as after a boot without a battery, far ahead, or right."""
        before = self.clock.now
        self.clock.set(how)
        if self.clock.now < before - HOUR:
            self.book.orderly = False

    @precondition(lambda self: self.ring is not None)
    @rule()
    def lose_ring(self) -> None:
        """The daemon and all else die, and the ring with them; the disk has what was written."""
        self.ground.restart()
        for path in reader.listing(self.first).parts.values():
            left = dict(reader.packets(path, cut_off=True))
            self.book.packets |= left
        self._end_ring()

    @precondition(lambda self: self.ring is not None)
    @rule(share=PERCENT, how=st.sampled_from(("short", "zeros", "hole")))
    def cut_power(self, share: int, how: str) -> None:
        """The disk has only a part of what was not confirmed, or other bytes in its place."""
        self.lose_ring()
        for path in reader.listing(self.first).parts.values():
            if path not in self.cut:
                self.cut.add(path)
                self._cut(path, share, how)

    def _cut(self, path: Path, share: int, how: str) -> None:
        content = path.read_bytes()
        start, end = share * len(content) // 100, len(content)
        if how == "hole":
            start = start // 4096 * 4096
            end = min(end, start + 4096)
        before = reader.blocks_of(content, cut_off=True)
        rest = bytes(end - start) if how != "short" else b""
        path.write_bytes(content[:start] + rest + content[end:])
        headless = bool(before) and start < before[0].start
        hit = [headless or (one.end > start and one.start < end) for one in before]
        self.book.lose(one.number for one, lost in zip(before, hit, strict=True) if lost)
        self.book.hidden |= {one.number for one in before if one.start >= end}

    # What happens to finished segments.

    @precondition(lambda self: self.number)
    @rule(compress=st.booleans(), jobs=st.integers(0, 8), moves=st.integers(0, 6), death=DEATHS)
    def archive(self, compress: bool, jobs: int, moves: int, death: Death) -> None:
        """A turn of the archive process, which salvages first what a run has left."""
        self._archive(Turn(compress, jobs, moves, death))

    def _archive(self, turn: Turn) -> None:
        living = []
        if self.ring is not None:
            living = [Living(RING, self.ring.state.oldest)]
        lived, events = self.ground.archive(turn, living)
        self.happened["archive processes killed"] += not lived
        for event in events:
            self.happened[event.name.lower()] += 1
            aside = event.name == "SEGMENT_DAMAGED" and "is set aside" in event.text
            assert aside or event.name in EXPECTED, event
        self._see()
        self.cut = {path for path in self.cut if path.exists()}
        if not self.cut:
            self.book.hidden.clear()
        if lived and turn.jobs:
            assert not reader.listing(self.first).half_made

    @precondition(lambda self: self.book.segments)
    @rule(which=WHICH, second=st.booleans(), how=st.sampled_from(("delete", "spoil")))
    def lose_index(self, which: int, second: bool, how: str) -> None:
        """An index is deleted, or has other bytes in it."""
        found = reader.listing(self.second if second else self.first).finished.values()
        indexes = [path for one in found for path in one.indexes]
        if not indexes:
            return
        path = indexes[which % len(indexes)]
        if how == "delete":
            path.unlink()
        else:
            path.write_bytes(reader.USELESS)

    @precondition(lambda self: self.book.packets)
    @rule(which=WHICH, length=st.integers(0, 3), death=SOON, expires=st.booleans())
    def hold(self, which: int, length: int, death: Death, expires: bool) -> None:
        """What was captured about then is to be kept, until it is released or for a time."""
        stamps = sorted(self.book.packets.values())
        at = which * len(stamps) // 12
        since, until = stamps[at], stamps[min(len(stamps) - 1, at + length * 200)]
        self.holds_made += 1
        identity = f"{self.holds_made:08x}"
        over = self.clock.now + DAY if expires else None
        made = Hold(identity, since, until, (RING,), "case 42", self.clock.now, over, "root")
        self.ground.hold(made, death)
        if self._has_hold(identity):
            self.book.holds[identity] = made

    @precondition(lambda self: self.book.spans(self.clock.now))
    @rule(which=WHICH)
    def release(self, which: int) -> None:
        """A hold is ended."""
        holds = [one for one, hold in self.book.holds.items() if not hold.is_over(self.clock.now)]
        identity = holds[which % len(holds)]
        self.ground.release(identity)
        del self.book.holds[identity]

    @precondition(lambda self: self.book.segments)
    @rule(key=st.sampled_from(RULES), share=PERCENT, second=SECOND, death=SOON)
    def reap(self, key: str, share: int, second: bool, death: Death) -> None:
        """A rule of retention, which leaves about this share of what is there."""
        place = self.second if second else self.first
        found = reader.listing(place)
        if key == "max_age":
            stamps = [*sorted(one.begins for one in found.finished.values()), self.clock.now]
            before = stamps[share * len(stamps) // 101]
            age = max(1, self.clock.now - before)
            self._reap(place, Policy(max_age=age), books.by_age(self.clock.now - age), death)
        elif key == "max_files":
            most = max(1, share * len(found.finished) // 100)
            self._reap(place, Policy(max_files=most), books.by_count(most), death)
        elif key == "max_size":
            written = sum(map(reader.size_on_disk, found.parts.values()))
            there = sum(one.size for one in found.finished.values()) + written
            most = share * there // 100
            self._reap(place, Policy(max_size=most), books.by_size(most, written), death)
        else:  # no less than the next seconds need is made free, before it is needed
            there, total = free(self.place)
            ahead = round(total / 20)
            reserve = max(1, there + (100 - share) * 2**22 // 100 - ahead)
            missing = reserve + ahead - there if there < reserve + ahead * 3 // 4 else 0
            self._reap(place, Policy(min_free=reserve), books.by_space(missing), death)

    def _reap(self, place: Path, policy: Policy, asks: books.Asks, death: Death) -> None:
        before = reader.listing(place).finished
        usable = {seq for seq, one in before.items() if self._usable(one)}
        every = self.book.aged(before, usable, self.clock.now)
        lived = self.ground.reap(place, policy, death)
        after = reader.listing(place).finished
        gone = before.keys() - after.keys()
        self.happened["reapers killed"] += not lived
        self.happened["deleted"] += len(gone)
        self.happened["held and left alone"] += sum(one.held for one in every)
        self._see_holds_end(reaped=place == self.first and lived)
        books.check_deleted(every, gone, asks, interrupted=not lived)
        for seq in gone - self._there():
            self.book.lose(number for number, _ in self.book.segments.pop(seq, ()))
            self.book.damaged.discard(seq)

    def _see_holds_end(self, *, reaped: bool) -> None:
        """Those whose time is over are ended for good, whatever the clock says later."""
        for identity, hold in list(self.book.holds.items()):
            if hold.is_over(self.clock.now) and not self._has_hold(identity):
                del self.book.holds[identity]
                self.happened["holds over"] += 1
            else:
                assert self._has_hold(identity), f"{hold} is gone"
                assert not (reaped and hold.is_over(self.clock.now)), f"{hold} goes on"

    # What must be so.

    @invariant()
    def files_are_right(self) -> None:
        """Each packet is in one segment, names are unique, and what is not capd's untouched."""
        seen = self._see()
        self.book.check(seen, self._waiting())
        assert reader.foreign([self.first, self.second]) == self.foreign
        assert self._there() >= self.book.segments.keys() | self.book.damaged
        highest = -1
        for seq in sorted(self.book.segments):
            numbers = [number for number, _ in self.book.segments[seq]]
            assert numbers == sorted(numbers), f"segment {seq} is in another order"
            assert not numbers or numbers[0] > highest, f"segment {seq} is out of order"
            highest = numbers[-1] if numbers else highest

    @invariant()
    def everything_is_extracted(self) -> None:
        """Each packet once, and nothing else."""
        found = self._extracted()
        self.book.check([number for number, _ in found], self._waiting())
        assert all(self.book.packets.get(number, stamp) == stamp for number, stamp in found)

    @precondition(lambda self: self.book.packets)
    @rule(ends=st.tuples(WHICH, WHICH), flow=st.integers(-1, 15))
    def extract(self, ends: tuple[int, int], flow: int) -> None:
        """Of a range, what a filter takes."""
        stamps = sorted(self.book.packets.values())
        since, until = (stamps[at * len(stamps) // 12] for at in sorted(ends))
        text = f"udp src port {40000 + flow}" if flow >= 0 else ""
        found = self._extracted(since, until, text)
        asked = {n for n in (*self.book.packets, *self._waiting()) if flow in (-1, n % 16)}
        part = replace(
            self.book,
            packets={n: self.book.packets[n] for n in self._within(since, until) & asked},
        )
        part.check([number for number, _ in found], self._waiting())

    @invariant()
    def listing_is_right(self) -> None:
        """What `capd list` says of each segment, and in sum."""
        places = [reader.listing(self.first), reader.listing(self.second)]
        counts: dict[int, int | None] = {}
        for place in reversed(places):  # what is in both counts as it is in the first
            for seq, one in place.finished.items():
                content = self.book.segments.get(seq, ())
                counts[seq] = len(content) if self._usable(one) else None
        counts |= dict.fromkeys(places[0].parts)
        queries.check_listing(self.ground.directories, counts, self.book.spans(self.clock.now))

    def teardown(self) -> None:
        """All that is left half made is salvaged or gone, and others can read what there is."""
        if not hasattr(self, "ground"):
            return
        if sys.exc_info()[1] is not None:  # it has failed already: that is what is to be told
            self._end_ring()
            return
        self.happened["moved"] += len(reader.listing(self.second).finished)
        self.lose_ring()
        for _ in range(2):
            self._archive(Turn(compress=True, jobs=100, moves=100))
        assert not reader.listing(self.first).parts
        self.files_are_right()
        self.listing_is_right()
        queries.check_whole(self.ground.directories)
        found = queries.extract(self.ground.directories, damaged=len(self.book.damaged), judge=True)
        self.book.check([number for number, _ in found])
