"""Records of gaps and losses in words."""

from __future__ import annotations

import pytest

from capd.losses import Loss, describe
from capd.units import SECOND

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
