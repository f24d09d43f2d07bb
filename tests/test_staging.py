"""The staging buffer on a real file with O_DIRECT, against a plain bytearray."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capd import pcapng
from capd.capture.blocks import Blocks
from capd.capture.staging import Staging, forgo_direct
from capd.capture.state import NEVER
from capd.messages import Source
from capd.pages import PAGE
from tests.support import judge
from tests.support.disk import Disk, mounted
from tests.support.need import need, need_root
from tests.support.rings import PER_BLOCK, STREAM, rig

SOURCE = Source("eth0", "eth0", 1, None, "", 0, 262144, "host", record_direction=False)
HEADER = pcapng.header(SOURCE)
ROOM = 2**18


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """An ext4 of 8 MiB: O_DIRECT is real there."""
    need("mount", "umount", "mkfs.ext4")
    need_root()
    with mounted("ext4", tmp_path, 8 * 2**20) as made:
        yield made


@contextmanager
def direct(path: Path) -> Iterator[int]:
    """A new file, past the page cache."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_DIRECT)
    try:
        yield fd
    finally:
        os.close(fd)


def packet(number: int, length: int) -> bytes:
    """An Enhanced Packet Block with a frame of at least 14 bytes."""
    data = bytes(12) + b"\x88\xb5" + number.to_bytes(4, "big") * (length // 4)
    data += bytes(-len(data) % 4)
    body = struct.pack("=IIIII", 0, 0, number, len(data), len(data)) + data
    size = struct.pack("=I", 12 + len(body))
    return struct.pack("=I", 6) + size + body + size


def assert_padded(content: bytes, wanted: bytes) -> None:
    """These bytes, then nothing or one padding block to the page's end."""
    assert content[: len(wanted)] == wanted
    rest = content[len(wanted) :]
    assert len(content) % PAGE == 0
    assert len(rest) < PAGE + pcapng.LEAST_BLOCK
    assert rest == (pcapng.padding(len(rest)) if rest else b"")


@pytest.mark.parametrize("seed", range(30))
def test_any_sequence(disk: Disk, seed: int) -> None:
    """Staged, written, kept and forgotten in any order: the file is what a bytearray says."""
    rng = random.Random(seed)
    staging, kept, staged = Staging(ROOM), bytearray(), bytearray()
    with direct(disk.path / "file") as fd:
        for number in range(300):
            match rng.choice(
                ["append"] * 4 + ["write", "write and keep", "write and forget", "drop"]
            ):
                case "append" if len(staged) < ROOM // 2:
                    block = packet(number, rng.choice((4, 8, 60, 1500, 4040, 4072, 9000, 60_000)))
                    staging.append(block)
                    staged += block
                case "append" | "drop":
                    staging.forget()
                    staged.clear()
                case step:
                    staging.write(fd)
                    content = (disk.path / "file").read_bytes()
                    assert_padded(content[: page_end(len(kept + staged))], bytes(kept + staged))
                    if step == "write and keep":
                        staging.keep()
                        kept += staged
                    if step != "write":
                        staging.forget()
                        staged.clear()
            assert staging.length == len(kept) + len(staged)
            assert staging.tail == kept[len(kept) // PAGE * PAGE :]


def page_end(length: int) -> int:
    """Where the last write ended; behind it may stand what a forgotten one left."""
    end = -(-length // PAGE) * PAGE
    return end + PAGE * (0 < end - length < pcapng.LEAST_BLOCK)


@pytest.mark.parametrize("left", [0, 4, 8, 12, 16, 4092])
def test_room_for_the_padding(disk: Disk, left: int) -> None:
    """With less than a block's twelve bytes to the page's end, the padding takes the next page."""
    staging = Staging(ROOM)
    block = packet(1, 8)
    staging.append(HEADER)
    while PAGE - staging.length - left - len(block) > 100:
        staging.append(block)
    staging.append(pcapng.padding(2 * PAGE - staging.length - left))
    assert 2 * PAGE - staging.length == left
    with direct(disk.path / "file") as fd:
        staging.write(fd)
    content = (disk.path / "file").read_bytes()
    assert len(content) == 2 * PAGE + PAGE * (0 < left < 12)
    need("tcpdump", "tshark", "capinfos")
    judge.assert_clean(disk.path / "file")


def test_file_opens_after_every_write(disk: Disk) -> None:
    """Readers see all packets so far, and no padding."""
    need("tcpdump", "tshark", "capinfos")
    staging = Staging(ROOM)
    staging.append(HEADER)
    with direct(disk.path / "file") as fd:
        for number in range(1, 15):
            staging.append(packet(number, number * 500))
            staging.write(fd)
            staging.keep()
            judge.assert_clean(disk.path / "file")
            times = [found.time for found in judge.packets(disk.path / "file")]
            assert times == [*range(1, number + 1)]
        assert staging.length > 10 * PAGE
        os.ftruncate(fd, staging.length)
    judge.assert_clean(disk.path / "file")


def test_restart(disk: Disk) -> None:
    """Another buffer goes on where one left off, from the tail and the length alone."""
    before, after = Staging(ROOM), Staging(ROOM)
    blocks = [packet(number, 3000) for number in range(4)]
    with direct(disk.path / "file") as fd:
        for staging, part in ((before, blocks[:2]), (after, blocks[2:])):
            if staging is after:
                after.append(b"something else, from before" * 4)
                after.restart(before.tail, before.length)
            for block in part:
                staging.append(block)
            staging.write(fd)
            staging.keep()
    assert_padded((disk.path / "file").read_bytes(), b"".join(blocks))


def test_pack_and_forget(disk: Disk) -> None:
    """A real block: taken back when it was not committed, and the same the second time."""
    need("tcpdump")
    staging = Staging(ROOM)
    staging.append(HEADER)
    with rig() as ring, direct(disk.path / "file") as fd:
        blocks = Blocks(ring.fd, ring.shape)
        ring.source.inject(2 * PER_BLOCK + 1)
        staging.write(fd)
        staging.keep()
        first = staging.pack(blocks, SOURCE, 0, NEVER)
        staging.write(fd)
        staging.forget()
        assert staging.length == len(HEADER)
        for packed in (first, None):
            again = staging.pack(blocks, SOURCE, 0, NEVER)
            assert packed in (again, None)
            assert (again.packets, again.malformed, again.clamped) == (PER_BLOCK, 0, 0)
            staging.write(fd)
            staging.keep()
            blocks.release()
        os.ftruncate(fd, staging.length)
    judge.check_numbers([disk.path / "file"], STREAM, 2 * PER_BLOCK)


def test_full_disk(disk: Disk) -> None:
    """ENOSPC; what was staged stays, and what was kept is whole; later the write succeeds."""
    staging = Staging(ROOM)
    kept, more = packet(1, 5000), packet(2, 200_000)
    with direct(disk.path / "file") as fd:
        staging.append(kept)
        staging.write(fd)
        staging.keep()
        disk.fill(leave=50_000)  # some of the pages fit
        staging.append(more)
        for _ in range(2):
            with pytest.raises(OSError, match="No space left") as it:
                staging.write(fd)
            assert it.value.errno == errno.ENOSPC
            assert staging.length == len(kept + more)
            assert staging.tail == kept[PAGE:]
            assert (disk.path / "file").read_bytes()[: len(kept)] == kept
        disk.clear()
        staging.write(fd)
    assert_padded((disk.path / "file").read_bytes(), kept + more)


def test_short_writes(tmp_path: Path) -> None:
    """A file limit in the middle of a page lets a part through: the whole pages of it count."""
    staging = Staging(ROOM)
    block = packet(1, 50_000)
    staging.append(block)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    fd = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (5 * PAGE + 100, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            staging.write(fd)
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert staging.length == len(block)
        staging.write(fd)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
        os.close(fd)
    assert_padded((tmp_path / "file").read_bytes(), block)


def test_more_than_there_is_room_for() -> None:
    """Is an error, not a longer or a torn buffer."""
    staging = Staging(ROOM)
    for _ in range(ROOM // 4096):
        staging.append(bytes(4096))
    with pytest.raises(ValueError, match="memoryview assignment"):
        staging.append(bytes(2**22))
    assert staging.length == ROOM


def test_forgo_direct(disk: Disk) -> None:
    """Once; then any length can be written."""
    with direct(disk.path / "file") as fd:
        with pytest.raises(OSError, match="Invalid argument"):
            os.pwrite(fd, b"odd", 1)
        assert forgo_direct(fd)
        assert not forgo_direct(fd)
        assert os.pwrite(fd, b"odd", 1) == 3


def test_a_kernel_without_huge_pages(tmp_path: Path) -> None:
    """As a real-time one is: small ones do, for whoever captures and whoever compresses."""
    need("strace")
    code = (
        "import os; from capd.archive.direct import Reader;"
        "from capd.capture.staging import Staging; Staging(4096);"
        "Reader(os.open('/dev/null', os.O_RDONLY), 2**21, direct=False)"
    )
    log = tmp_path / "log"
    argv = ["strace", "-f", "-o", str(log), "-e", "inject=madvise:error=EINVAL"]
    subprocess.run([*argv, sys.executable, "-c", code], check=True)
    assert log.read_text().count("MADV_HUGEPAGE) = -1 EINVAL (Invalid argument) (INJECTED)") == 2
