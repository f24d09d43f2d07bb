"""Records of gaps and losses in words, and as lines of the ledger."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.losses import STAGES, Loss, decode, describe, encode
from capd.units import MAX, SECOND

NOON = 1_763_985_600 * SECOND  # on DAY, UTC
DAY = "2025-11-24"
RING = Loss("v0", "ring", NOON + SECOND // 4, NOON + 3 * SECOND, 1234, "it was full")
LINK = Loss("v0", "link", NOON, NOON + 4_200_000_000, None, "it was deleted")


@pytest.mark.parametrize(
    ("loss", "begin", "end"),
    [
        (RING, "lost 1,234 packets at the ring", "12:00:00.250 to 12:00:03.000 UTC: it was full"),
        (
            Loss("v0", "disk", NOON, NOON + 86400 * SECOND, 1, "why", at_most=True),
            "lost at most 1 packet at the disk",
            "12:00:00.000 to 2025-11-25 12:00:00.000 UTC: why",
        ),
        (
            Loss("v0", "nic", NOON, NOON, None, "why"),
            "lost an unknown number of packets at the nic",
            "12:00:00.000 to 12:00:00.000 UTC: why",
        ),
        (LINK, "no packets", "12:00:00.000 to 12:00:04.200 UTC (4.2 s): it was deleted"),
        (Loss("v0", "link", NOON, None, None, "why"), "no packets", "12:00:00.000 UTC on: why"),
    ],
)
def test_loss_in_words(loss: Loss, begin: str, end: str) -> None:
    """What a person reads."""
    assert describe(loss) == f"{begin} from {DAY} {end}"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2504, "250 ms"),
        (1, "1.0 s"),
        (99.9, "99.9 s"),
        (100, "1 min"),
        (5999, "99 min"),
        (6000, "1 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
    ],
)
def test_how_long_a_gap_was(seconds: float, words: str) -> None:
    """About, in the unit that a person would take."""
    until = NOON + int(seconds * SECOND)
    assert f" UTC ({words}): why" in describe(Loss("v0", "link", NOON, until, None, "why"))


LOSSES = st.builds(
    Loss,
    st.text(),
    st.sampled_from(STAGES),
    st.integers(0, MAX),
    st.none() | st.integers(0, MAX),
    st.none() | st.integers(0, MAX),
    *(st.text(), st.booleans(), st.text(), st.text()),
)


@given(LOSSES)
def test_a_record_is_one_line_and_comes_back(loss: Loss) -> None:
    """Whatever is in its texts."""
    line = encode(loss)
    assert line.isascii()
    assert "\n" not in line
    assert decode(line) == decode(line.encode()) == loss


@given(LOSSES, st.text(min_size=1), st.integers())
def test_a_later_version_may_add_keys(loss: Loss, key: str, value: int) -> None:
    """And an earlier one has fewer."""
    fields = json.loads(encode(loss))
    assert decode(json.dumps({key: value} | fields)) == loss
    for added in ("change", "samples", "at_most"):
        del fields[added]
    early = decode(json.dumps(fields))
    assert (early.cause, early.change, early.at_most) == (loss.cause, "", False)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 2},
        {"format": None},
        {"since": None},
        {"since": -1},
        {"since": 1.5},
        {"since": "2025-11-24"},
        {"since": MAX + 1},
        {"packets": True},
        {"packets": -1},
        {"until": []},
        {"cause": None},
        {"at_most": 1},
        {"stage": {"ring": 1}},
    ],
    ids=str,
)
def test_what_is_no_record(changes: dict[str, object]) -> None:
    """It is refused as one, and nothing is made up for it."""
    fields = json.loads(encode(RING))
    with pytest.raises(ValueError, match=r"."):
        decode(json.dumps(fields | changes))
    del fields[next(iter(changes))]
    if not changes.keys() & {"at_most"}:
        with pytest.raises(ValueError, match=r"."):
            decode(json.dumps(fields))


@given(st.binary() | st.text())
def test_nonsense_is_no_record(line: bytes | str) -> None:
    """Nor does it end the reader."""
    with pytest.raises(ValueError, match=r"."):
        decode(line)


def test_depth_and_length_are_no_record() -> None:
    """What json itself has limits for."""
    for line in ("[" * 100_000, "9" * 100_000, "null", "[]", '"x"'):
        with pytest.raises(ValueError, match=r"."):
            decode(line)
