"""capd's own pcapng blocks, as Wireshark's tools and libpcap read them."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd import __version__, pcapng
from capd.messages import Source
from tests.support import judge
from tests.support.need import need
from tests.support.statistics import InterfaceStatistics, interface_statistics

SOURCE = Source(
    interface="enp3s0",
    ring="enp3s0:1",
    link_type=1,
    speed=25_000_000_000,
    filter="tcp port 443 and not host 192.0.2.1",
    filter_since=0,
    snaplen=96,
    host="probe-7",
    record_direction=False,
)
FRAME = bytes.fromhex("02000000000102000000000288b5") + bytes(46)
STAMP = 1_700_000_000_123_456_789


def packet(stamp: int = STAMP) -> bytes:
    """An Enhanced Packet Block, by hand."""
    high, low = divmod(stamp, 2**32)
    size = struct.pack("=I", 32 + len(FRAME))
    fields = struct.pack("=IIIII", 0, high, low, len(FRAME), len(FRAME))
    return struct.pack("=I", 6) + size + fields + FRAME + size


def capinfos(path: Path, *options: str) -> dict[str, str]:
    """What capinfos says, by what it calls it."""
    done = subprocess.run(
        ["capinfos", "-M", *options, str(path)], stdout=subprocess.PIPE, text=True, check=True
    )
    lines = (line.partition(" = " if " = " in line else ":") for line in done.stdout.splitlines())
    return {name.strip(): value.strip() for name, _, value in lines}


def written(tmp_path: Path, *blocks: bytes) -> Path:
    """A file of these blocks that every reader accepts."""
    need("tcpdump", "tshark", "capinfos")
    path = tmp_path / "file.pcapng"
    path.write_bytes(b"".join(blocks))
    judge.assert_clean(path)
    return path


def test_header_says_where_it_comes_from(tmp_path: Path) -> None:
    """Interface, speed, filter, host, ring, snaplen, capd's version."""
    path = written(tmp_path, pcapng.header(SOURCE), packet())
    said = capinfos(path)
    assert said["Name"] == "enp3s0"
    assert said["Speed"] == "25000000000"
    assert said["Filter string"] == SOURCE.filter
    assert said["Capture oper-sys"] == "Linux"
    assert said["Capture application"] == f"capd {__version__}"
    assert said["Capture comment"] == "host probe-7, ring enp3s0:1, snaplen 96"
    assert said["Encapsulation"] == "Ethernet (1 - ether)"
    assert said["Capture length"] == "262144"
    assert said["Time precision"] == "nanoseconds (9)"
    assert said["Number of packets"] == "1"


def test_header_leaves_out_what_is_unknown(tmp_path: Path) -> None:
    """No speed, no filter: nothing is said, rather than 0 or an empty one."""
    source = SOURCE._replace(speed=None, filter="")
    said = capinfos(written(tmp_path, pcapng.header(source), packet()))
    assert "Speed" not in said
    assert "Filter string" not in said


@pytest.mark.parametrize(
    ("link_type", "name"), [(0, "NULL/Loopback"), (1, "Ethernet"), (101, "Raw IP")]
)
def test_link_type(tmp_path: Path, link_type: int, name: str) -> None:
    """Readers see the one that was given."""
    path = written(tmp_path, pcapng.header(SOURCE._replace(link_type=link_type)))
    assert capinfos(path)["Encapsulation"].startswith(f"{name} (")


def test_header_alone_is_a_whole_file(tmp_path: Path) -> None:
    """A segment that was just begun opens with no packet in it."""
    path = written(tmp_path, pcapng.header(SOURCE))
    assert list(judge.packets(path)) == []


def test_any_text_makes_a_readable_header(tmp_path: Path) -> None:
    """Not UTF-8, too long, cut in the middle of a character."""
    for text in ("\udcff\udc80", "ä" * 40_000, "x" + "ä" * 40_000, "x" * 70_000, "\N{SNOWMAN}"):
        path = written(tmp_path, pcapng.header(SOURCE._replace(filter=text, host=text)), packet())
        said = subprocess.run(["capinfos", str(path)], stdout=subprocess.PIPE, check=True).stdout
        assert "\N{REPLACEMENT CHARACTER}" not in said.decode()
        assert len(list(judge.packets(path))) == 1


def test_statistics_are_read_back(tmp_path: Path) -> None:
    """Every field, also past 32 bits; tshark accepts the block anywhere."""
    wanted = InterfaceStatistics(
        time=STAMP + 5,
        start=STAMP,
        end=STAMP + 3,
        received=2**40 + 3,
        dropped=None,
        os_dropped=2**33,
        delivered=2**40,
    )
    block = pcapng.statistics(
        now=STAMP + 5,
        first=STAMP,
        last=STAMP + 3,
        received=2**40 + 3,
        dropped=2**33,
        written=2**40,
        comment="the disk was full",
    )
    path = written(tmp_path, pcapng.header(SOURCE), packet(), block, packet(STAMP + 1), block)
    assert interface_statistics(path) == [wanted, wanted]
    assert [found.time for found in judge.packets(path)] == [STAMP, STAMP + 1]
    assert capinfos(path)["Number of stat entries"] == "2"
    argv = ["tshark", "-r", str(path), "-X", "read_format:MIME Files Format", "-V"]
    shown = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert "the disk was full" in shown


@pytest.mark.parametrize("length", [12, 16, 20, 4080, 4096, 8188])
def test_padding_is_invisible(tmp_path: Path, length: int) -> None:
    """Of any size that `write` may need; before, between and behind packets."""
    padding = pcapng.padding(length)
    assert len(padding) == length
    path = written(tmp_path, pcapng.header(SOURCE), padding, packet(), padding, packet(), padding)
    argv = ["tshark", "-r", str(path), "-T", "fields", "-e", "frame.len"]
    shown = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert shown.split() == ["60", "60"]
    assert [found.data for found in judge.packets(path)] == [FRAME, FRAME]


@given(st.text(), st.text(), st.integers(0, 2**64 - 1))
def test_blocks_have_the_length_they_say(text: str, other: str, speed: int) -> None:
    """Twice, and in whole words."""
    content = pcapng.header(SOURCE._replace(host=text, filter=other, speed=speed))
    content += pcapng.statistics(0, 0, 2**64 - 1, 1, 2, 3, comment=text)
    kinds, at = [], 0
    while at < len(content):
        kind, size = struct.unpack_from("=II", content, at)
        assert size % 4 == 0
        assert struct.unpack_from("=I", content, at + size - 4) == (size,)
        kinds.append(kind)
        at += size
    assert (at, kinds) == (len(content), [0x0A0D0D0A, 1, 5])
