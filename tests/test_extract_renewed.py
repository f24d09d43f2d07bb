"""`capd extract` where a ring's numbers began again, and the second directory has the old ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from capd.query.source import Source
from capd.query.sources import Sources, Wanted
from capd.units import format_time
from tests.support.extracting import EACH, at, config, extracted, frame, plain, put, run, stream
from tests.support.traffic import START

DAY = 24 * 3600 * 10**9
FOREVER = START + 10 * DAY
OLD = [packet for seq in range(4) for packet in stream(0, seq * EACH)]
NEW = [(stamp + DAY, frame(at)) for at, (stamp, _) in enumerate(OLD)]


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """Four segments of each numbering."""
    folder, second = tmp_path / "captures", tmp_path / "second"
    for seq, form in enumerate(("raw", "bare", "zst", "open"), 1):
        put(second, "v0", seq, OLD[(seq - 1) * EACH : seq * EACH], "raw")
        put(folder, "v0", seq, NEW[(seq - 1) * EACH : seq * EACH], form)
    config(folder)
    with (tmp_path / "capd.toml").open("a") as file:
        file.write(f'[archive]\ndirectory = "{second}"\n')
    return folder


def wanted(captures: Path, *, second: bool = True) -> Wanted:
    directories = (captures, captures.with_name("second"))[: 1 + second]
    return Wanted(tuple(map(str, directories)), 0, FOREVER)


def held(sources: Sources) -> list[Source]:
    return sources.hold().get("v0", [])


def test_both_are_given(captures: Path) -> None:
    """In order, each packet once."""
    assert plain(extracted(captures, until=FOREVER)) == [*OLD, *NEW]


def test_holes_of_both_are_told(captures: Path) -> None:
    """Also what the later one lacks of its beginning."""
    for folder, number in (("second", 3), ("captures", 1), ("captures", 3)):
        listed = captures.with_name(folder).glob(f"v0/*/*_{number:010d}.pcapng*")
        for path in listed:
            path.unlink()
    done = run(captures, "-o", "/dev/null", until=FOREVER)
    assert done.returncode == 3
    told = [line for line in done.stderr.decode().splitlines() if "is not there" in line]
    times = (OLD[2 * EACH - 1], OLD[3 * EACH], OLD[-1], NEW[EACH], NEW[3 * EACH])
    a, b, c, d, e = (format_time(stamp) for stamp, _ in times)
    spans = (f"3, between {a} and {b}", f"1, between {c} and {d}", f"3, between {d} and {e}")
    rest = "is not there; unless a run that was cut off left the number out, packets are missing"
    assert told == [f"incomplete: v0: segment {span}, {rest}" for span in spans]
    done = run(captures, "--since", at(START + DAY // 2), "-o", "/dev/null", until=START + DAY)
    assert b"segment 1, between " in done.stderr
    assert b"segment 3, " not in done.stderr


def test_the_later_ones_are_given(captures: Path) -> None:
    """Alone, where the older ones are of another time."""
    assert plain(extracted(captures, "--since", at(START + DAY), until=FOREVER)) == NEW


def test_one_is_finished_and_compressed_meanwhile(captures: Path) -> None:
    """It is known again by its packets; the older one of its number was there before."""
    with Sources(wanted(captures)) as sources:
        assert [(one.seq, one.is_open) for one in held(sources)[-2:]] == [(3, False), (4, True)]
        (captures / "v0" / "0000000004.pcapng.part").unlink()
        put(captures, "v0", 4, NEW[3 * EACH :], "raw")
        put(captures, "v0", 5, NEW[3 * EACH :], "raw")
        assert [one.seq for one in held(sources)] == [5]
        assert not sources.vanished


def test_older_ones_that_show_later(captures: Path) -> None:
    """The disk of the second directory is mounted while somebody reads."""
    aside = captures.with_name("aside")
    captures.with_name("second").rename(aside)
    with Sources(wanted(captures)) as sources:
        assert [one.seq for one in held(sources)] == [1, 2, 3, 4]
        aside.rename(captures.with_name("second"))
        assert [one.seq for one in held(sources)] == [1, 2, 3, 4]
