"""The grammar of file names: what capd writes it reads back, and nothing else passes for it."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from capd.names import (
    COMPRESSED_SUFFIX,
    SEGMENT_SUFFIX,
    SUSPECT_SUFFIX,
    SegmentName,
    damaged_name,
    is_folder,
    parse_damaged,
    parse_index,
    parse_part,
    parse_segment,
    parse_temporary,
    part_name,
    ring_name,
)

YEAR_2200 = 7_258_118_400_000_000_000  # ns

interfaces = st.text("ab9_.@-:TZ", min_size=1, max_size=15) | st.sampled_from(
    ["eth0", "eth0.100", "veth_a@b", "a_20260101T000000.000000000Z_0000000001", "lan\nx"]
)
rings = st.builds(ring_name, interfaces, st.integers(0, 64))
seqs = st.integers(0, 10**18)
stamps = st.integers(0, YEAR_2200)


@given(rings, stamps, seqs, st.sampled_from([SEGMENT_SUFFIX, SUSPECT_SUFFIX, COMPRESSED_SUFFIX]))
@example("eth0_1:1", 0, 0, SEGMENT_SUFFIX)
@example("e", YEAR_2200 - 1, 10**10, SUSPECT_SUFFIX)
def test_segment_there_and_back(ring: str, stamp: int, seq: int, suffix: str) -> None:
    """Whatever the ring is called."""
    name = SegmentName(ring, stamp, seq, suffix)
    assert parse_segment(name.file) == name
    assert is_folder(name.folder)
    assert name.folder.replace("-", "") in name.file
    assert parse_part(name.file) is None
    assert parse_index(name.index_file) == name
    assert parse_index(name.file) is parse_segment(name.index_file) is None
    for made in (name.file, name.index_file):
        assert parse_temporary(f"{made}.part") == name
        assert parse_temporary(made) is None
        assert parse_segment(f"{made}.part") is parse_index(f"{made}.part") is None


@given(seqs)
@example(9_999_999_999)
@example(10_000_000_000)
def test_part_there_and_back(seq: int) -> None:
    """Also past ten digits."""
    assert parse_part(part_name(seq)) == seq
    assert parse_segment(part_name(seq)) is None
    assert parse_damaged(damaged_name(seq)) == seq
    assert parse_damaged(part_name(seq)) is parse_part(damaged_name(seq)) is None


@given(rings, stamps, seqs, seqs)
def test_names_of_one_folder_sort_by_time(ring: str, stamp: int, seq: int, other: int) -> None:
    """`ls` shows them in order."""
    early, late = SegmentName(ring, stamp, seq), SegmentName(ring, stamp + 1, other)
    assert (early.folder, early.file) < (late.folder, late.file)


def test_spelling() -> None:
    """These names are on disks."""
    stamp = 1_767_225_599_000_000_042
    assert SegmentName("eth0", stamp, 7).file == (
        "eth0_20251231T235959.000000042Z_0000000007.pcapng"
    )
    assert SegmentName("eth0", stamp, 7).folder == "2025-12-31"
    assert part_name(7) == "0000000007.pcapng.part"
    assert ring_name("eth0") == "eth0"
    assert ring_name("eth0", 1) == "eth0:1"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "_20251231T235959.000000042Z_0000000007.pcapng",
        "eth0_20251231T235959.000000042Z_7.pcapng",
        "eth0_20251231T235959.000000042Z_00000000007.pcapng",
        "eth0_20251231T235959.42Z_0000000007.pcapng",
        "eth0_20251331T235959.000000042Z_0000000007.pcapng",
        "eth0_20250229T000000.000000042Z_0000000007.pcapng",
        "eth0_20251231T235960.000000042Z_0000000007.pcapng",
        "eth0_20251231T240000.000000042Z_0000000007.pcapng",
        "eth0_00001231T235959.000000042Z_0000000007.pcapng",
        "eth0_02260101T000000.000000042Z_0000000007.pcapng",
        "eth0_19691231T235959.000000042Z_0000000007.pcapng",
        "eth0_99991231T235959.000000042Z_0000000007.pcapng",
        "eth0_20251231T235959.000000042Z_0000000007.pcapng.part",
        "eth0_20251231T235959.000000042Z_0000000007.pcapng\n",
        "eth0_20251231T235959.000000042Z_0000000007.pcap",
        "a/eth0_20251231T235959.000000042Z_0000000007.pcapng",
        "eth0_\u06620251231T235959.000000042Z_0000000007.pcapng",
        "0000000007.pcapng.part",
    ],
)
def test_not_a_segment(name: str) -> None:
    """Someone else's, or a spelling that capd never writes."""
    assert parse_segment(name) is None


@pytest.mark.parametrize(
    "name",
    [
        "7.pcapng.part",
        "00000000007.pcapng.part",
        "0000000007.pcapng",
        "0000000007.pcapng.part\n",
        "x0000000007.pcapng.part",
        "\u0660000000007.pcapng.part",
        "",
    ],
)
def test_not_a_part(name: str) -> None:
    """The same for files in the making."""
    assert parse_part(name) is None


@given(st.text())
def test_any_name_is_survived(name: str) -> None:
    """And what passes is exactly what capd would write."""
    segment, seq = parse_segment(name), parse_part(name)
    assert segment is None or segment.file == name
    assert seq is None or part_name(seq) == name


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("2025-12-31", True),
        ("2025-1-31", False),
        ("20251231", False),
        ("2025-12-31\n", False),
        ("eth0", False),
    ],
)
def test_folders(name: str, *, expected: bool) -> None:
    """Dated folders look like dates."""
    assert is_folder(name) == expected
