"""What `capd extract`, `list` and `verify` say of the directories, without a process for each."""

from __future__ import annotations

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import NamedTuple

from capd.errors import FilterError
from capd.holds import Span
from capd.pcapng import SNAPLEN
from capd.query import listing
from capd.query.extraction import Request
from capd.query.extraction import extract as extraction
from capd.query.holdings import holdings, look
from capd.query.matcher import Matcher
from capd.query.output import Output
from capd.query.sources import Wanted
from capd.query.verification import Verification
from tests.modelling import reader
from tests.modelling.capture import STREAM
from tests.support import judge as judges


class Asked(NamedTuple):
    """A range, and a filter for it."""

    since: int
    until: int
    text: str = ""


EVERYTHING = Asked(0, 2**63 - 1)


class _Patient:
    """Who watches, and says nothing."""

    def expect(self, total: int) -> None:
        """So much may come."""

    def advance(self, size: int) -> None:
        """So much came."""


def extract(
    directories: tuple[str, str],
    asked: Asked = EVERYTHING,
    *,
    damaged: int,
    cut: bool = False,
    judge: bool = False,
) -> reader.Packets:
    """What is given; all of it, but for what was set aside as damaged.

    `cut`: whether open segments may be broken.  `judge`: it is libpcap that reads what was written.
    """
    with tempfile.NamedTemporaryFile(suffix=".pcapng", dir="/dev/shm") as file:
        output = Output(file.name, "pcapng", SNAPLEN)
        output.begin("a model")
        request = Request(Wanted(directories, asked.since, asked.until), asked.text)
        made = extraction(request, _matcher(asked), output, _Patient())
        output.finish("complete", asked.since)
        output.close()
        troubles = [one for one in made.troubles if not (cut and ".pcapng.part" in one)]
        aside = [one for one in troubles if "set aside as damaged" in one]
        # what lies between two others need not be told of to who asks for neither
        told = damaged if asked == EVERYTHING else min(damaged, len(aside))
        assert len(troubles) == len(aside) == told, made.troubles
        path = Path(file.name)
        if not judge:
            return reader.packets(path)
        read = [(STREAM.number_in(one.data), one.time) for one in judges.packets(path)]
        return tuple((number, stamp) for number, stamp in read if number is not None)


def check_listing(
    directories: tuple[str, str], counts: dict[int, int | None], held: list[tuple[int, int]]
) -> None:
    """Each segment is told once, with its packets (None: nobody knows); and the sums are right."""
    places, troubles = look(directories)
    assert not troubles
    spans = [Span(*one) for one in held]
    told = json.loads(listing.as_json(holdings(places, spans)))
    found = {one["seq"]: one["packets"] for one in told["segments"]}
    differ = {seq: (found.get(seq), counts.get(seq)) for seq in found.keys() | counts.keys()}
    differ = {seq: both for seq, both in differ.items() if both[0] != both[1]}
    assert found == counts, f"packets listed, and there: {differ}"
    assert len(told["segments"]) == told["totals"]["segments"] == len(counts)
    known = [count for count in counts.values() if count is not None]
    assert told["totals"]["packets"] == sum(known)
    assert told["totals"]["unknown"] == len(counts) - len(known)
    assert told["totals"]["lost"] == 0


def check_whole(directories: tuple[str, str]) -> None:
    """`capd verify` finds nothing but what was spoiled, and what was set aside."""
    for verdict in Verification(directories).verdicts(lambda _: None):
        index = Path(f"{verdict.path}.idx")
        if not reader.is_useless(index) and not verdict.path.endswith(".damaged"):
            assert verdict.problem is None, verdict


def _matcher(asked: Asked) -> Matcher:
    """One whose filter libpcap need not compile again."""
    made = Matcher("", asked.since, asked.until)
    made._text, made._programs = asked.text, _programs(asked.text)
    return made


@cache
def _programs(text: str) -> dict[int, bytes | FilterError]:
    return Matcher(text, 0, 0)._programs
