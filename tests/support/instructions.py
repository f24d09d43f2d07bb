"""Programs of classic BPF that libpcap does not make; codes as in <linux/filter.h>."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

Step = tuple[int, ...]
"""code, jump if true, jump if false, k"""
Way = tuple[tuple[int, int, int], ...]
"""Loads: code, offset, mask."""

# Ways to a field, as a program takes them behind an Ethernet header: of each load the code, the
# offset and the mask.  Code 0x48 is behind the IPv4 header that begins at 14.
_TYPE, _WORD = (0x28, 12, 0xFFFF), 0xFFFFFFFF
_NOT_LATER = (0x28, 20, 0x1FFF)
_WAYS = (
    (_TYPE, (0x20, 26, _WORD)),
    (_TYPE, (0x20, 30, 0xFFFFFE00), (0x28, 26, 0xFFFF)),
    (_TYPE, (0x30, 23, 0xFF), _NOT_LATER, (0x48, 14, 0xFFFF)),
    (_TYPE, (0x30, 23, 0xFF), _NOT_LATER, (0x48, 16, 0xFFFF), (0x20, 26, _WORD)),
    (_TYPE, (0x28, 20, 0x3FFF), (0x28, 20, 0xFFFF), (0x30, 20, 0x20)),
    (_TYPE, (0x30, 20, 0xFF), (0x28, 54, 0xFFFF), (0x28, 56, 0xFFFF)),
    (_TYPE, (0x30, 20, 0xFF), (0x30, 54, 0xFF)),
    (_TYPE, (0x20, 22, _WORD), (0x20, 26, _WORD), (0x20, 30, _WORD), (0x20, 34, _WORD)),
    (_TYPE, (0x20, 38, _WORD), (0x20, 42, 0xFFFF0000)),
    (_TYPE, (0x20, 28, _WORD), (0x20, 38, 0xFF000000)),
    (_TYPE, (0x28, 14, 0xFFFF), (0x28, 16, 0xFFFF), (0x20, 30, _WORD)),
    (_TYPE, (0x28, 16, 0xFFFF), (0x30, 24, 0xFF), (0x28, 58, 0xFFFF)),
    (_TYPE, (0x30, 16, 1), (0x30, 18, 0xF0), (0x20, 30, _WORD)),
    (_TYPE, (0x30, 16, 1), (0x30, 20, 1), (0x30, 22, 0xF0), (0x20, 30, _WORD)),
    (_TYPE, (0x28, 20, 0xFFFF), (0x20, 34, _WORD)),
    (_TYPE, (0x28, 20, 0xFFFF), (0x20, 36, _WORD), (0x28, 34, 0xFFFF)),
)


def programs(rng: random.Random, packet: bytes) -> Iterator[bytes]:
    """Every way, whole and without each of its steps; most programs take this packet."""
    for way in _WAYS:
        yield _along(rng, packet, way)
        for left_out in range(len(way)):
            yield _along(rng, packet, (*way[:left_out], *way[left_out + 1 :]))


def _switch(rng: random.Random, packet: bytes) -> tuple[list[Step], int]:
    """Some ways to another number in M[0], and the number that this packet gets."""
    cases = rng.choice((2, 3, 10))
    taken = rng.randrange(cases)
    steps: list[Step] = []
    for case in range(cases):
        number = packet[case] if case == taken and case < len(packet) else 0xFF
        steps += [(0x30, 0, 0, case), (0x15, 0, 3, number), (0x00, 0, 0, case % 3 * 4)]
        steps += [(0x02, 0, 0, 0), (0x05, 0, 0, 5 * (cases - 1 - case))]
    return steps, taken % 3 * 4


def _along(rng: random.Random, packet: bytes, way: Way) -> bytes:
    """A program that goes this way, or one beside it, and mostly takes this packet."""
    steps: list[Step] = []
    memory = 0
    if rng.random() < 0.2:
        steps, memory = _switch(rng, packet)
    elsewhere = rng.choice((0, memory))
    for code, offset, mask in way:
        at = offset + (elsewhere or rng.choice((0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4)))
        size = {0x28: 2, 0x48: 2, 0x30: 1}.get(code, 4)
        if code == 0x48:
            steps += [(0xB1, 0, 0, 14), (code, 0, 0, at)]  # ldx 4*([14] & 0xf); ld [x + at]
            at += 4 * (packet[14] & 15) if len(packet) > 14 else 0
        elif memory:
            steps += [(0x61, 0, 0, 0), (code ^ 0x60, 0, 0, at - memory)]  # ldx M[0]; ld [x + ...]
        else:
            steps.append((code, 0, 0, at))
        value = int.from_bytes(packet[at : at + size], "big") & mask
        steps += [(0x54, 0, 0, mask), *_compared(rng, value)]
    return b"".join(struct.pack("HBBI", *step) for step in [*steps, (6, 0, 0, 96)])


def _compared(rng: random.Random, value: int) -> list[Step]:
    """Go on if A is this value, or like it; seldom if it is not."""
    code, number = rng.choice(((0x15, value), (0x15, value), (0x35, value), (0x25, value)))
    if rng.random() < 0.1:
        code, number = 0x45, 0x1FFF
    true = {0x15: True, 0x35: True, 0x25: False}.get(code, bool(value & number))
    ways = [(0, 1), (1, 0)] if true else [(1, 0), (0, 1)]
    way = ways[0] if rng.random() < 0.9 else rng.choice((ways[1], (2, 0)))
    return [(code, *way, number), (0x05, 0, 0, 1), (0x06, 0, 0, 0)]


_CODES = (0x00, 0x01, 0x02, 0x03, 0x20, 0x28, 0x30, 0x40, 0x48, 0x54, 0x60, 0x61, 0x80, 0xB1, 0x07)
_JUMPS = (0x05, 0x15, 0x25, 0x35, 0x45, 0x1D)


def longest(rng: random.Random, jumps: float) -> bytes:
    """4095 instructions that no compiler makes, of these so many jumps."""
    numbers = (0, 6, 12, 14, 17, 23, 26, 30, 0x0800, 0x86DD, 0x1FFF, 0xFFFFF030, 2**32 - 1)
    program = bytearray()
    for left in range(4095, 0, -1):
        far = [rng.randrange(min(left, 256)) for _ in range(2)]
        code = rng.choice(_JUMPS if rng.random() < jumps else _CODES)
        if code in _JUMPS:
            number = far[0] if code == 0x05 else rng.choice(numbers)
            program += struct.pack("HBBI", code, *far, number)
        else:
            program += struct.pack("HBBI", code, 0, 0, rng.choice(numbers))
    return bytes(program)
