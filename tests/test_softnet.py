"""/proc/net/softnet_stat as kernels have written it since 2.6: what it says, and what not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.daemon import softnet
from capd.daemon.softnet import Softnet
from capd.status import CpuBacklog


def line(columns: int, *, processed: int = 0, dropped: int = 0, cpu: int = 0) -> str:
    """One row with that many columns."""
    values = [processed, dropped, 3, *[0] * 6, 11, 12, 5, cpu, 7, 8]
    return " ".join(f"{value:08x}" for value in values[:columns])


def text(*lines: str) -> bytes:
    """A file of these."""
    return ("\n".join(lines) + "\n").encode()


@pytest.mark.fault(53)
@pytest.mark.parametrize("columns", range(9, 16))
def test_every_number_of_columns(columns: int) -> None:
    """What a kernel does not write is unknown."""
    watch = Softnet()
    watch.feed(text(line(columns, cpu=4), line(columns, cpu=6)))
    watch.feed(text(line(columns, dropped=5, cpu=4), line(columns, processed=2**31, cpu=6)))
    numbers = (4, 6) if columns >= 13 else (None, None)
    rps = 0 if columns >= 10 else None
    limit = 0 if columns >= 11 else None
    assert watch.status.dropped == 5
    assert watch.status.cpus == [
        CpuBacklog(numbers[0], 0, 5, 0, rps, limit),
        CpuBacklog(numbers[1], 2**31, 0, 0, rps, limit),
    ]


@pytest.mark.fault(4)
def test_wraps_at_32_bits() -> None:
    """Processed packets do, on a busy machine every few minutes."""
    watch = Softnet()
    watch.feed(text(line(15, processed=2**32 - 10, dropped=2**32 - 1)))
    watch.feed(text(line(15, processed=10, dropped=1)))
    (cpu,) = watch.status.cpus
    assert (cpu.processed, cpu.dropped) == (20, 2)


@pytest.mark.fault(53)
def test_processor_goes_offline_and_comes_back() -> None:
    """Rows move up; the numbers tell whose they are."""
    watch = Softnet()
    watch.feed(text(line(13, dropped=100, cpu=0), line(13, dropped=7, cpu=1)))
    watch.feed(text(line(13, dropped=8, cpu=1)))
    assert [cpu.cpu for cpu in watch.status.cpus] == [1]
    assert watch.dropped == 1
    watch.feed(text(line(13, dropped=100, cpu=0), line(13, dropped=8, cpu=1)))
    assert watch.dropped == 1


def test_without_numbers_a_row_that_moves_is_no_loss() -> None:
    """Nobody knows whose it is, so that it is only looked at anew."""
    watch = Softnet()
    watch.feed(text(line(11, dropped=2), line(11, dropped=1000)))
    watch.feed(text(line(11, dropped=3), line(11, dropped=1000)))
    watch.feed(text(line(11, dropped=1000)))
    watch.feed(text(line(11, dropped=1004)))
    assert watch.dropped == 1 + 4
    assert [cpu.cpu for cpu in watch.status.cpus] == [None]


@pytest.mark.fault(53)
def test_unreadable_is_unknown() -> None:
    """And no reason to forget, or to count twice."""
    watch = Softnet()
    assert watch.status.dropped is None
    watch.feed(text(line(15, dropped=5)))
    watch.feed(None)
    assert (watch.status.dropped, watch.status.cpus) == (None, [])
    watch.feed(text(line(15, dropped=9)))
    assert watch.status.dropped == 4


@pytest.mark.fault(53)
@given(st.binary(max_size=200))
def test_nonsense(content: bytes) -> None:
    """No exception."""
    watch = Softnet()
    for each in (content, text(line(15)), content):
        watch.feed(each)
    assert watch.dropped >= 0


def test_this_machine() -> None:
    """As it is here."""
    rows = softnet.parse(Path(softnet.PATH).read_bytes())
    assert rows
    assert all(row.counters["processed"] is not None for row in rows)


@pytest.mark.parametrize("columns", [9, 13, 15])
def test_sums_are_those_of_the_rows(columns: int) -> None:
    """The quick way and the thorough one read the same."""
    content = text(line(columns, processed=2**31, dropped=5), line(columns, processed=7, cpu=1))
    rows = [row.counters for row in softnet.parse(content)]
    names = ("processed", "dropped", "squeezed")
    assert softnet.sums(content) == tuple(sum(row[name] or 0 for row in rows) for name in names)
    assert softnet.sums(content) == (2**31 + 7, 5, 6)
    assert softnet.sums(b"") == (0, 0, 0)
