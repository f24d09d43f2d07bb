"""The plot of losses: what stands where, at several widths, letter by letter."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from capd.losses import STAGES, Loss
from capd.query.timeline import ASCII, LEAST, UNICODE, Scale, timeline
from capd.units import MAX, SECOND

NOON = 1_763_985_600 * SECOND  # 2025-11-24 12:00:00 UTC
HOUR = 3600 * SECOND
DAY = (NOON - 12 * HOUR, NOON + 12 * HOUR)


def ring(after: int, seconds: int, packets: int, interface: str = "eth0") -> Loss:
    """So many seconds after noon."""
    begin = NOON + after * SECOND
    return Loss(interface, "ring", begin, begin + seconds * SECOND, packets, "why")


SOME = [
    ring(0, 2, 1_000_000),
    ring(7200, 1, 1),
    Loss("eth0", "link", NOON + 3 * HOUR, NOON + 5 * HOUR, None, "no carrier"),
    Loss("", "backlog", NOON - 6 * HOUR, NOON - 5 * HOUR, 12_000, "why"),
    Loss("ens2f1np1", "disk", NOON, None, None, "why"),
    ring(-3 * 86400, 86400, 7, "ens2f1np1"),  # another day's
]

AT_80 = """\
ens2f1np1 ring    │                                                            │
ens2f1np1 disk    │                              ??????????????????????????????│
eth0      link    │                                     ──────                 │
eth0      ring    │                              █    ▁                        │
machine   backlog │               ▅▅▅                                          │
                   ┴──────┴───────┴──────┴───────┴──────┴───────┴──────┴───────
                   11-24  03:00   06:00  09:00   12:00  15:00   18:00  21:00
▁ to █: up to 1,000,000 packets, by logarithm; ─ a gap; ? unknown"""
AT_50 = """\
ens2f1np1 ring    |                              |
ens2f1np1 disk    |               ???????????????|
eth0      link    |                  ----        |
eth0      ring    |               @ .            |
machine   backlog |       =*                     |
                   +------+-------+------+-------
                   11-24  06:00   12:00  18:00
. to @: up to 1,000,000 packets, by logarithm; - a gap; ? unknown"""
AT_20 = """\
ens2f1np1 ring    |          |
ens2f1np1 disk    |     ?????|
eth0      link    |      --  |
eth0      ring    |     @    |
machine   backlog |  *       |
                   +---------
                   11-24
. to @: up to 1,000,001 packets, by logarithm; - a gap; ? unknown"""


def drawn(losses: list[Loss], since: int, until: int, width: int, *, plain: bool) -> list[str]:
    lines = timeline(losses, since, until, width, ASCII if plain else UNICODE)
    return [line.plain for line in lines]


@pytest.mark.parametrize(
    ("width", "plain", "text"), [(80, False, AT_80), (50, True, AT_50), (20, True, AT_20)]
)
def test_a_day(width: int, plain: bool, text: str) -> None:
    """A million packets and one, a gap, a loss that goes on, and one of another day."""
    assert drawn(SOME, *DAY, width, plain=plain) == text.splitlines()


@pytest.mark.parametrize(
    ("seconds", "times"),
    [
        (3, "12:00:00         12:00:01         12:00:02"),
        (60, "12:00:00    12:00:15     12:00:30     12:00:45"),
        (1000, "12:00          12:05          12:10          12:15"),
        (90_000, "12:00       18:00       11-25       06:00"),
        (86400 * 10, "       11-26     11-28      11-30     12-02"),
        (86400 * 365 * 8, "                        2029-10"),
    ],
)
def test_times_are_round(seconds: int, times: str) -> None:
    """Whatever the range: in UTC, and a day where it begins; a tick over each."""
    lines = drawn([ring(0, 1, 1)], NOON, NOON + seconds * SECOND, 63, plain=False)
    indent = lines[0].index(UNICODE.edge) + 1
    assert lines[2][indent:] == times
    ticks = [at for at, mark in enumerate(lines[1]) if mark == UNICODE.tick]
    begins = [at for at, mark in enumerate(lines[2]) if mark != " " and lines[2][at - 1] == " "]
    assert begins == ticks[: len(begins)]


def test_no_name_breaks_the_plot() -> None:
    """Nor does one with letters of two columns, or with what moves the cursor."""
    names = ["網", "\x1b[2J", "e"]
    *rows, _, _, _ = drawn([ring(0, 1, 1, name) for name in names], *DAY, 60, plain=False)
    assert {cell_len(row) for row in rows} == {60}
    assert all(row.isprintable() for row in rows)


@settings(deadline=None)
@given(
    st.integers(0, MAX - 10**6),
    st.integers(1, 10**20),
    st.integers(1, 300),
    st.lists(
        st.tuples(
            st.sampled_from(STAGES),
            st.integers(0, MAX),
            st.integers(0, 10**18),
            st.none() | st.integers(0, 2**63),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_any_losses_at_any_width(
    since: int, span: int, width: int, told: list[tuple[str, int, int, int | None]]
) -> None:
    """Rows of one length, and a mark for each loss in the range."""
    until = min(since + span, MAX)
    losses = [
        Loss("v0", stage, at, min(at + lasts, MAX), packets, "why")
        for stage, at, lasts, packets in told
        if at < until and min(at + lasts, MAX) >= since
    ]
    if not losses:
        return
    lines = drawn(losses, since, until, width, plain=True)
    rows = [line for line in lines if line.startswith("v0")]
    assert len(rows) == len({loss.stage for loss in losses})
    assert {len(row) for row in rows} == {max(width, len("v0 ") + LEAST + rows[0].index("|") - 1)}


@given(st.integers(0, MAX // 2), st.integers(1, 10**17), st.integers(1, 500), st.data())
def test_a_loss_is_spread_over_its_time(
    since: int, span: int, columns: int, data: st.DataObject
) -> None:
    """All of it, when all of its time is in the range; and columns begin where they say."""
    scale = Scale(since, since + span, columns)
    begin = data.draw(st.integers(since, scale.until - 1))
    end = data.draw(st.integers(begin, scale.until))
    shares = list(scale.shares(begin, end))
    assert abs(sum(share for _, share in shares) - 1) < 1e-9
    assert [column for column, _ in shares] == list(range(shares[0][0], shares[-1][0] + 1))
    for column, _ in shares:
        assert scale.column(scale.begin(column)) == column
