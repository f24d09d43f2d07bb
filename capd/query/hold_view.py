"""`capd hold`: what is held, and how much that is, as lines to read or JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from capd.held import Amount, Held
from capd.hold_folder import Doubt, Found
from capd.holds import Hold, Span, describe
from capd.query.holdings import Place
from capd.times import clock
from capd.units import MAX, format_count, format_size


@dataclass(frozen=True)
class Kept:
    """A hold, and what it keeps, whoever else keeps it too."""

    hold: Hold
    amount: Amount

    @property
    def fields(self) -> dict[str, object]:
        """For programs; times in ns since 1970, sizes in bytes."""
        return asdict(self.hold) | self.amount._asdict()


@dataclass(frozen=True)
class Answer:
    """All holds in force."""

    kept: tuple[Kept, ...]
    doubts: tuple[Doubt, ...]
    total: Amount  # of all together, each segment once

    @property
    def troubles(self) -> list[str]:
        """What is not clear."""
        return [
            f"{doubt.text}; what there was when it was changed last is held"
            for doubt in self.doubts
        ]


def answer(found: Found, places: Sequence[Place]) -> Answer:
    """What these holds keep in these places."""
    kept = tuple(Kept(hold, _amount([hold.span], places)) for hold in found.holds)
    return Answer(kept, found.doubts, _amount(found.spans, places))


def _amount(spans: list[Span], places: Sequence[Place]) -> Amount:
    parts = [Held(place.directory, spans).look(place.rings) for place in places]
    return Amount(sum(one.segments for one in parts), sum(one.bytes for one in parts))


def lines(found: Answer) -> Iterator[str]:
    """Two lines for each hold, and the total."""
    for one in found.kept:
        yield f"{one.hold.id}  {describe(one.hold)}"
        yield f"          {in_words(one.amount)}"
    count = len(found.kept)
    if not count and not found.doubts:
        yield "nothing is held"
        return
    text = f"{format_count(count)} hold{'' if count == 1 else 's'}"
    yield f"{text}, {in_words(found.total)} in all"


def gone(hold: Hold, places: Sequence[Place]) -> Iterator[str]:
    """What a hold comes too late for, interface by interface; or what never was there."""
    oldest: dict[str, int] = {}
    for place in places:
        for ring, files in place.rings.items():
            interface = ring.partition(":")[0]
            stamps = [segment.stamp for segment in files.segments if segment.stamp]
            if stamps and hold.concerns(interface):
                oldest[interface] = min(oldest.get(interface, MAX), *stamps)
    for interface, stamp in sorted(oldest.items()):
        if stamp > hold.since:
            yield f"{interface}: nothing from before {clock(stamp)} UTC is there"
    open_now = {ring.partition(":")[0] for ring, files in places[0].rings.items() if files.parts}
    for interface in hold.interfaces:
        if interface not in oldest and interface not in open_now:
            yield f"{interface}: no segment is there yet"


def uncounted(hold: Hold, places: Sequence[Place]) -> Iterator[str]:
    """What a hold may keep once it has a name, interface by interface."""
    if hold.since >= hold.made_at:
        return
    for ring, files in sorted(places[0].rings.items()):
        interface = ring.partition(":")[0]
        newest = max((segment.stamp for segment in files.segments), default=0)
        if files.parts and newest < hold.until and hold.concerns(interface):
            text = "the segment that is open is not counted; what it has of that is kept too"
            yield f"{ring}: {text}"


def in_words(amount: Amount) -> str:
    """How much that is."""
    noun = "segment" if amount.segments == 1 else "segments"
    return f"{format_count(amount.segments)} {noun} of {format_size(amount.bytes)}"


def as_json(found: Answer) -> str:
    """All of it; times in ns since 1970, sizes in bytes."""
    return json.dumps(
        {
            "holds": [one.fields for one in found.kept],
            "unclear": [doubt._asdict() for doubt in found.doubts],
            "totals": found.total._asdict(),
        }
    )
