"""`capd extract` says by which filter, and up to which length, its packets were captured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zstandard

from capd import index as indexes
from capd import pcapng
from capd.messages import Source
from capd.units import format_time
from tests.support.extracting import EACH, GAP, SECTION, at, config, put, run, stream
from tests.support.sections import index_of
from tests.support.traffic import START, head

BEGINS = [START + number * EACH * GAP for number in range(4)]


def put_with(folder: Path, ring: str, seq: int, form: str, terms: tuple[str, int]) -> None:
    """A segment that was captured on these terms."""
    path = put(folder, ring, seq, stream(0, (seq - 1) * EACH), form)
    content = path.read_bytes()
    content = zstandard.decompress(content) if form == "zst" else content
    content = head(ring, *terms) + content[len(head(ring)) :]
    path.write_bytes(zstandard.compress(content) if form == "zst" else content)
    if form == "raw":
        index = indexes.encode(index_of(content, SECTION))
        path.with_name(f"{path.name}.idx").write_bytes(index)


def told(captures: Path, since: int, until: int, *words: str) -> list[str]:
    """What is said of it beside what was asked and given, and that this is no lack."""
    made = captures.with_name("out.pcapng")
    done = run(captures, "--since", at(since), "-o", str(made), *words, until=until)
    assert done.returncode == 0, done.stderr
    _, _, *said, verdict = done.stderr.decode().splitlines()
    assert verdict == "complete"
    assert all(line.encode() in made.read_bytes() for line in said)
    return said


def test_what_a_filter_left_out(tmp_path: Path) -> None:
    """Of the segments of the range, also where nothing in them is wanted, or read."""
    captures = tmp_path / "captures"
    config(captures)
    everything, dns, cut = ("", 262144), ("port 53", 262144), ("inbound and (port 53)", 96)
    for seq, terms in enumerate((everything, dns, dns, cut), 1):
        put_with(captures, "v0", seq, "raw", terms)
    assert told(captures, BEGINS[0], BEGINS[1]) == []
    assert told(captures, BEGINS[1], BEGINS[3]) == ["v0: captured with the filter 'port 53'"]
    changed = [
        f"v0: from {format_time(BEGINS[0])} on captured with no filter",
        f"v0: from {format_time(BEGINS[1])} on captured with the filter 'port 53'",
        f"v0: from {format_time(BEGINS[3])} on captured with the filter {cut[0]!r} and snaplen 96",
    ]
    assert told(captures, START, START + 10**10, "host", "10.99.0.1") == changed
    done = run(captures, "-o", "/dev/null", "--json")
    assert json.loads(done.stderr)["terms"]["v0"] == [
        {"since": begin, "filter": terms[0], "snaplen": terms[1]}
        for begin, terms in ((BEGINS[0], everything), (BEGINS[1], dns), (BEGINS[3], cut))
    ]


@pytest.mark.parametrize("form", ["bare", "zst", "open"])
@pytest.mark.parametrize("filter", ["port 53", " or ".join(["port 53"] * 1000)], ids=["", "long"])
def test_in_whatever_state(tmp_path: Path, form: str, filter: str) -> None:  # noqa: A002
    """Rings of which the same is to be said stand together."""
    captures = tmp_path / "captures"
    config(captures)
    for ring in ("v0", "w0"):
        put_with(captures, ring, 1, form, (filter, 262144))
    put(captures, "x0", 1, stream(0, 0), form)
    said = told(captures, START, START + 10**10)
    assert said == [f"v0, w0: captured with the filter {filter!r}"]


@pytest.mark.parametrize("since", [0, START])
def test_what_a_head_says_is_read_back(since: int) -> None:
    """Whatever the host is called; what is no head says nothing."""
    filters = ("", "port 53", "x" * 30_000)
    for filter in filters:  # noqa: A001
        source = Source("v0", "v0", 1, 10, filter, since, 96, "a, snaplen 7", record_direction=True)
        whole = pcapng.header(source)
        assert pcapng.read_header(whole + b"rest") == (filter, 96)
        for end in range(0, len(whole), 4):
            assert pcapng.read_header(whole[:end]) is None
    assert pcapng.read_header(bytes(100)) is None
