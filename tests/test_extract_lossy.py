"""`capd extract` of segments that tell of losses themselves, beside what the ledger has."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from capd import index as indexes
from capd.ledger import RECORDS
from capd.losses import Loss, encode
from capd.names import LEDGER_FOLDER
from capd.units import format_time
from tests.support.extracting import EACH, GAP, at, config, put, run, stream
from tests.support.traffic import START


def is_told(captures: Path, lost: str, *words: str) -> bool:
    """Whether this is said to be missing."""
    done = run(captures, "-o", "/dev/null", *words)
    return f"incomplete: {lost}" in done.stderr.decode().splitlines()


def test_a_loss_that_only_its_segment_tells_of(tmp_path: Path) -> None:
    """The daemon was killed before it was on record, or the ledger does not reach back so far."""
    captures = tmp_path / "captures"
    captures.mkdir()
    config(captures)
    for seq in (1, 2):
        put(captures, "v0", seq, stream(0, (seq - 1) * EACH), "raw")
    (index,) = captures.glob("v0/*/*_0000000001.pcapng.idx")
    told = indexes.decode(index.read_bytes())
    sections = (*told.sections[:-1], told.sections[-1]._replace(lost=7))
    index.write_bytes(indexes.encode(told._replace(sections=sections)))
    last = START + (EACH - 1) * GAP
    span = f"between {format_time(START)} and {format_time(last)}"
    lost = f"v0: 7 packets were lost {span}, of which there is no record"
    assert is_told(captures, lost)
    assert not is_told(captures, lost, "--since", at(last + 1))
    ledger = captures / LEDGER_FOLDER
    ledger.mkdir()
    record = Loss("v0", "ring", START + GAP, START + 2 * GAP, 7, "it was full")
    for one, missing in ((replace(record, interface="w0"), True), (record, False)):
        (ledger / RECORDS).write_text(f"{encode(one)}\n")
        assert is_told(captures, lost) == missing
        assert is_told(captures, lost, "--since", at(START + 9 * GAP)) == missing
