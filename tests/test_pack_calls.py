"""The functions of `_pack` as Python calls them: arguments, status words, leaks."""

from __future__ import annotations

import inspect
import os
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.packing import FILL, compiled
from tests.support.twin import Packet, block, exact

_pack: Any = compiled()
ROOT = Path(__file__).resolve().parent.parent


_MEMORY = exact(bytes(4096))
_READ_ONLY = exact(bytes(4096)).toreadonly()


@pytest.mark.parametrize(
    "arguments",
    [
        (_MEMORY, -8, 4096, _MEMORY, 0),
        (_MEMORY, 8, 4096, _MEMORY, 0),
        (_MEMORY, 4096, 4096, _MEMORY, 0),
        (_MEMORY, 2**62, 4096, _MEMORY, 0),
        (_MEMORY, 0, 4097, _MEMORY, 0),
        (_MEMORY, 0, 2**62, _MEMORY, 0),
        (_MEMORY, 0, -1, _MEMORY, 0),
        (_MEMORY, 0, 47, _MEMORY, 0),
        (_MEMORY, 4, 2048, _MEMORY, 0),
        (_MEMORY[1:], 0, 2048, _MEMORY, 0),
        (_MEMORY[:47], 0, 47, _MEMORY, 0),
        (_MEMORY[:0], 0, 0, _MEMORY, 0),
        (_MEMORY, 0, 4096, _MEMORY, -1),
        (_MEMORY, 0, 4096, _MEMORY, 4097),
    ],
)
def test_pack_refuses(arguments: tuple[memoryview, int, int, memoryview, int]) -> None:
    """A place outside of the memory, a block that cannot be one."""
    with pytest.raises(ValueError, match="outside"):
        _pack.pack(*arguments, 262144, False, 0, 1)


@pytest.mark.parametrize(
    "offset", [-8, -4, -1, 1, 2, 4085, 4088, 4092, 4093, 4096, 2**62, -(2**62)]
)
def test_status_refuses(offset: int) -> None:
    """There is no status word of a block there."""
    ring = exact(bytes([FILL]) * 4096)
    with pytest.raises(ValueError, match="outside"):
        _pack.retired(ring, offset)
    with pytest.raises(ValueError, match="outside"):
        _pack.release(ring, offset)
    assert bytes(ring) == bytes([FILL]) * 4096


@pytest.mark.parametrize("offset", [-8, 4, 4089, 4092, 4096, 2**62, -(2**63)])
def test_publish_and_statistics_refuse(offset: int) -> None:
    """Nothing is stored past the page, nor across a word."""
    page = exact(bytes([FILL]) * 4096)
    with pytest.raises(ValueError, match="outside"):
        _pack.publish(page, offset, 1)
    with pytest.raises(ValueError, match="outside"):
        _pack.statistics(-1, page, offset + 1)
    assert bytes(page) == bytes([FILL]) * 4096


def test_what_is_read_only_stays_so() -> None:
    """A block may be packed from memory that cannot be written, nothing else."""
    assert _pack.pack(_READ_ONLY, 0, 4096, _MEMORY, 0, 0, False, 0, 1)[0] == 0
    for function, arguments in (
        (_pack.pack, (_MEMORY, 0, 4096, _READ_ONLY, 0, 0, False, 0, 1)),
        (_pack.release, (_READ_ONLY, 0)),
        (_pack.publish, (_READ_ONLY, 0, 0)),
        (_pack.statistics, (-1, _READ_ONLY, 0)),
    ):
        with pytest.raises(TypeError, match="read-write"):
            function(*arguments)


def test_status_word() -> None:
    """Bit 0 hands a block over; giving it back clears the word and nothing else."""
    ring = exact(bytes([FILL]) * 4096)
    for status, expected in ((0, False), (1, True), (0x20, False), (0x21, True), (0x25, True)):
        struct.pack_into("=I", ring, 1024 + 8, status)
        assert _pack.retired(ring, 1024) is expected
    _pack.release(ring, 1024)
    fill = bytes([FILL])
    assert bytes(ring) == fill * 1032 + bytes(4) + fill * (4096 - 1036)
    assert _pack.retired(ring, 4096 - 48) is bool(FILL & 1)


def test_publish() -> None:
    """All 64 bits, in the machine's order."""
    page = exact(bytes([FILL]) * 24)
    _pack.publish(page, 8, 2**64 - 2)
    assert bytes(page) == bytes([FILL]) * 8 + struct.pack("=Q", 2**64 - 2) + bytes([FILL]) * 8


def test_die_with_parent() -> None:
    """The signal arrives when the process that started this one ends."""
    program = (
        "import os, signal, sys\n"
        "from capd.capture import _pack\n"
        "if os.fork():\n"
        "    os.read(0, 1)\n"
        "else:\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n"
        "    _pack.die_with_parent(signal.SIGUSR1)\n"
        "    print('ready', flush=True)\n"
        "    print(signal.sigwait([signal.SIGUSR1]).name, flush=True)\n"
    )
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"ready\n"
        parent.stdin.close()
        assert parent.stdout.read() == b"SIGUSR1\n"
    with pytest.raises(OSError, match="Invalid argument"):
        _pack.die_with_parent(65)


def test_statistics_pass_the_kernel_s_error_on() -> None:
    """What is not a packet socket has none."""
    read, write = os.pipe()
    with pytest.raises(OSError, match="non-socket"):
        _pack.statistics(read, _MEMORY, 0)
    os.close(read)
    os.close(write)


_BLOCK = exact(block([Packet(bytes(64))] * 3, 4096))
_STAGING = exact(bytes(4096))
_CALLS: dict[str, list[tuple[Any, ...]]] = {
    "pack": [
        (_BLOCK, 0, 4096, _STAGING, 0, 262144, True),
        (_BLOCK, 8, 4096, _STAGING, 0, 262144, True),
        (_BLOCK, 0, 4096, _READ_ONLY, 0, 262144, True),
        (_BLOCK, 0, 4096, _STAGING, "0"),
    ],
    "retired": [(_BLOCK, 0), (_BLOCK, 4), (_BLOCK, 4096), (_BLOCK,)],
    "release": [(_STAGING, 0), (_STAGING, 4096), (_READ_ONLY, 0)],
    "statistics": [(-1, _STAGING, 0), (-1, _STAGING, 4096), (-1, _READ_ONLY, 0)],
    "die_with_parent": [(0,), (65,), ("0",), ()],
    "publish": [(_STAGING, 0, 2**63), (_STAGING, 4096, 1), (_STAGING, 0, "1")],
}


_functions = sorted(name for name, value in vars(_pack).items() if inspect.isbuiltin(value))


@pytest.mark.parametrize("name", _functions)
def test_nothing_leaks(name: str) -> None:
    """Neither memory nor references, in success and in failure; a new function needs calls."""
    function = getattr(_pack, name)
    watched = (None, True, False, _BLOCK, _STAGING, _READ_ONLY)
    _repeat(function, _CALLS[name], 100)
    tracemalloc.start()
    try:
        before, references = tracemalloc.get_traced_memory()[0], [*map(sys.getrefcount, watched)]
        _repeat(function, _CALLS[name], 20_000)
        after = tracemalloc.get_traced_memory()[0]
        assert after - before < 10_000
        for counts in zip(references, map(sys.getrefcount, watched), strict=True):
            assert abs(counts[1] - counts[0]) < 1000
    finally:
        tracemalloc.stop()


def _repeat(function: Callable[..., object], calls: list[tuple[Any, ...]], times: int) -> None:
    for arguments in calls:
        for _ in range(times):
            try:
                function(*arguments)
            except (ValueError, TypeError, BufferError, OSError):
                continue
