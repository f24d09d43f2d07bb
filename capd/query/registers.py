"""What a classic BPF program has in its registers, as far as that is known without a packet.

An instruction is (code, jump if true, jump if false, k); their meaning is that of <linux/filter.h>
and of the kernel's Documentation/networking/filter.rst.  This module knows each instruction
alone; what follows what is `paths.py`'s business.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

TAG_PRESENT = 0xFFFFF030  # SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT, <linux/filter.h>

Instruction = tuple[int, int, int, int]

INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter

LD, LDX, ST, STX, ALU, JMP, RET, MISC = range(8)
A, X = 0, 1
MEMORY = 2  # the first of 16 words

_IMM, _ABS, _IND, _MEM, _MSH = 0x00, 0x20, 0x40, 0x60, 0xA0
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
_ADD, _SUB, _MUL, _OR, _AND, _SHIFT_LEFT = 0x00, 0x10, 0x20, 0x40, 0x50, 0x60
_TXA = 0x80
_FROM_X = 0x08
_WORD = 0xFFFFFFFF
_NEGATIVE = 1 << 31  # offsets from here on are no bytes of the frame


class Load(NamedTuple):
    """What a program loaded and masked: a number of the frame's bytes."""

    offset: int  # TAG_PRESENT: no byte of the frame
    size: int  # bytes
    mask: int
    behind: int | None = None  # the IPv4 header beginning there: its length is to be added


class HeaderLength(NamedTuple):
    """4 * ([at] & 0xf), how long the IPv4 header at `at` is, and some more."""

    at: int
    more: int = 0


Value = int | Load | HeaderLength | None
"""None: it can be anything."""
Registers = tuple[Value, ...]
"""A, X and the 16 words of memory."""

UNKNOWN: Registers = (None,) * 18


def operand(instruction: Instruction, registers: Registers) -> Value:
    """What an arithmetic or a jump instruction has on its right side."""
    code, _, _, k = instruction
    return registers[X] if code & _FROM_X else k


def after(instruction: Instruction, registers: Registers) -> Registers:
    """The registers after an instruction that is neither a jump nor an end."""
    code, _, _, k = instruction
    kind = code & 7
    if kind in {LD, LDX}:
        return _with(registers, A if kind == LD else X, _loaded(code, k, registers))
    if kind in {ST, STX}:
        return _with(registers, MEMORY + k % 16, registers[A if kind == ST else X])
    if kind == ALU:
        value = _computed(code & 0xF0, registers[A], operand(instruction, registers))
        return _with(registers, A, value)
    source, target = (X, A) if code & _TXA else (A, X)
    return _with(registers, target, registers[source])


def _with(registers: Registers, number: int, value: Value) -> Registers:
    return (*registers[:number], value, *registers[number + 1 :])


def _loaded(code: int, k: int, registers: Registers) -> Value:
    mode = code & 0xE0
    if mode == _IMM:
        return k
    if mode == _MEM:
        return registers[MEMORY + k % 16]
    if mode == _ABS and k == TAG_PRESENT:
        return Load(TAG_PRESENT, 1, 1)  # whatever size is asked for
    if mode == _MSH and k < _NEGATIVE:
        return HeaderLength(k)
    size = _SIZES.get(code & 0x18, 0)
    return _read(k, size, registers[X] if mode == _IND else 0) if mode in {_ABS, _IND} else None


def _read(offset: int, size: int, index: Value) -> Value:
    mask = (1 << 8 * size) - 1
    if isinstance(index, HeaderLength) and offset + index.more < _NEGATIVE:
        return Load(offset + index.more, size, mask, index.at)
    if isinstance(index, int) and offset + index < _NEGATIVE:
        return Load(offset + index, size, mask)
    return None


def _computed(operation: int, left: Value, right: Value) -> Value:
    if operation == _AND and isinstance(left, int | Load) and isinstance(right, int):
        return masked(left, right)
    if operation == _SHIFT_LEFT and isinstance(left, Load) and right == 2:
        short = left == Load(left.offset, 1, 0x0F)
        return HeaderLength(left.offset) if short else None
    if operation == _ADD and isinstance(left, HeaderLength) and isinstance(right, int):
        return left._replace(more=left.more + right & _WORD)
    if not (isinstance(left, int) and isinstance(right, int)):
        return None
    results = {
        _ADD: left + right,
        _SUB: left - right,
        _MUL: left * right,
        _OR: left | right,
    }
    result = results.get(operation)
    return None if result is None else result & _WORD


def masked(value: Load | int, mask: int) -> Load | int:
    """The bits that are in the mask."""
    if isinstance(value, int):
        return value & mask
    return value._replace(mask=value.mask & mask) if value.mask & mask else 0


def _uses(instruction: Instruction) -> int:
    """The registers whose values matter to an instruction, a bit for each."""
    code, _, _, k = instruction
    kind, mode = code & 7, code & 0xE0
    if kind in {LD, LDX}:
        return {_IND: 1 << X, _MEM: 1 << MEMORY + k % 16}.get(mode, 0)
    if kind in {ALU, JMP}:
        jump_always = kind == JMP and not code & 0xF0
        return 0 if jump_always else 1 << A | bool(code & _FROM_X) << X
    if kind == MISC:
        return 1 << (X if code & _TXA else A)
    return {ST: 1 << A, STX: 1 << X}.get(kind, 0)


def _sets(instruction: Instruction) -> int:
    """The register that an instruction writes, as a bit."""
    code, _, _, k = instruction
    kind = code & 7
    if kind in {ST, STX}:
        return 1 << MEMORY + k % 16
    target = X if kind == LDX or (kind == MISC and not code & _TXA) else A
    return 0 if kind in {JMP, RET} else 1 << target


def targets(instruction: Instruction, at: int) -> tuple[int, ...]:
    """Where a program can go on after the instruction at `at`."""
    code, true, false, k = instruction
    if code & 7 == RET:
        return ()
    if code & 7 != JMP:
        return (at + 1,)
    return (at + 1 + true, at + 1 + false) if code & 0xF0 else (at + 1 + k,)


def needed(program: Sequence[Instruction]) -> list[int]:
    """For each instruction the registers that it or a later one uses, a bit for each."""
    found = [0] * len(program)
    for at in range(len(program) - 1, -1, -1):
        later = 0
        for target in targets(program[at], at):
            later |= found[target] if target < len(program) else 0
        found[at] = later & ~_sets(program[at]) | _uses(program[at])
    return found
