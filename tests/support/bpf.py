"""bpf(2) without a library: a small assembler, and the few commands the tests need.

An assembled instruction, or several, is a `bytes`; a program is their concatenation.
Only for little-endian machines.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10 = range(11)

ADJUST_TAIL = 65
XDP_ABORTED, XDP_DROP, XDP_PASS = 0, 1, 2

_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _PROG_TEST_RUN, _LINK_CREATE = 0, 2, 5, 10, 28
_MAP_TYPE_ARRAY = 2
_PROG_TYPE_XDP = 6
_ATTACH_XDP = 37
_F_GENERIC_XDP = 1 << 1
_F_MMAPABLE = 1 << 10
_F_TEST_XDP_LIVE_FRAMES = 1 << 1
_PSEUDO_MAP_VALUE = 2
_SYSCALL = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_LONGEST_BATCH = 256
_LOG_SIZE = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


def supported() -> bool:
    """Whether the number of bpf(2) on this kind of machine is known here."""
    return platform.machine() in _SYSCALL


def _instruction(code: int, to: int = 0, source: int = 0, offset: int = 0, value: int = 0) -> bytes:
    return struct.pack("<BBhi", code, source << 4 | to, offset, value)


def _wide(to: int, source: int, low: int, high: int) -> bytes:
    return struct.pack("<BBhIBBhI", 0x18, source << 4 | to, 0, low, 0, 0, 0, high)


def copy(to: int, source: int) -> bytes:
    """to = source"""
    return _instruction(0xBF, to, source)


def constant(to: int, value: int) -> bytes:
    """to = value, all 64 bits of it"""
    return _wide(to, 0, value & 0xFFFFFFFF, value >> 32)


def map_value(to: int, map_fd: int) -> bytes:
    """to = the address of the only value of an array map"""
    return _wide(to, _PSEUDO_MAP_VALUE, map_fd, 0)


def add(to: int, source: int) -> bytes:
    """to += source"""
    return _instruction(0x0F, to, source)


def add_constant(to: int, value: int) -> bytes:
    """to += value"""
    return _instruction(0x07, to, value=value)


def multiply_constant(to: int, value: int) -> bytes:
    """to *= value"""
    return _instruction(0x27, to, value=value)


def modulo_constant(to: int, value: int) -> bytes:
    """to %= value"""
    return _instruction(0x97, to, value=value)


def swap_bytes(register: int, bits: int) -> bytes:
    """register = its low `bits` bits, in network order"""
    return _instruction(0xDC, register, value=bits)


_WIDTH = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}


def load(to: int, address: int, offset: int, size: int) -> bytes:
    """to = the `size` bytes at address + offset"""
    return _instruction(0x61 & ~0x18 | _WIDTH[size], to, address, offset)


def store(address: int, offset: int, source: int, size: int) -> bytes:
    """the `size` bytes at address + offset = source"""
    return _instruction(0x63 & ~0x18 | _WIDTH[size], address, source, offset)


def store_bytes(address: int, offset: int, content: bytes, scratch: int) -> bytes:
    """The bytes from address + offset on = content; `scratch` is lost."""
    code = b""
    position = 0
    for size in (8, 4, 2, 1):
        while len(content) - position >= size:
            piece = content[position : position + size]
            code += constant(scratch, int.from_bytes(piece, "little"))
            code += store(address, offset + position, scratch, size)
            position += size
    return code


def when_above(register: int, other: int, then: bytes) -> bytes:
    """if register > other: then"""
    return _instruction(0xBD, register, other, len(then) // 8) + then


def when_at_least(register: int, value: int, then: bytes) -> bytes:
    """if register >= value: then"""
    return _instruction(0xA5, register, offset=len(then) // 8, value=value) + then


def call(helper: int) -> bytes:
    """r0 = helper(r1 .. r5); r1 to r5 are lost"""
    return _instruction(0x85, value=helper)


def leave(verdict: int) -> bytes:
    """return verdict"""
    return _instruction(0xB7, R0, value=verdict) + _instruction(0x95)


def _bpf(command: int, attributes: bytes) -> int:
    result: int = _libc.syscall(
        ctypes.c_long(_SYSCALL[platform.machine()]),
        ctypes.c_long(command),
        ctypes.create_string_buffer(attributes, len(attributes)),
        ctypes.c_long(len(attributes)),
    )
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, f"bpf({command}): {os.strerror(error)}")
    return result


def create_value(size: int) -> int:
    """The descriptor of a new map that holds one value of `size` bytes and can be mapped."""
    return _bpf(_MAP_CREATE, struct.pack("<IIIII", _MAP_TYPE_ARRAY, 4, size, 1, _F_MMAPABLE))


def set_value(map_fd: int, value: bytes) -> None:
    """Writes the only value of a map."""
    key = ctypes.create_string_buffer(4)
    content = ctypes.create_string_buffer(value, len(value))
    addresses = ctypes.addressof(key), ctypes.addressof(content)
    _bpf(_MAP_UPDATE, struct.pack("<IIQQQ", map_fd, 0, *addresses, 0))


def load_xdp(code: bytes) -> int:
    """The descriptor of an XDP program; OSError carries the verifier's words."""
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    log = ctypes.create_string_buffer(_LOG_SIZE)
    attributes = struct.pack(
        "<IIQQIIQ",
        _PROG_TYPE_XDP,
        len(code) // 8,
        ctypes.addressof(instructions),
        ctypes.addressof(licence),
        1,
        _LOG_SIZE,
        ctypes.addressof(log),
    )
    try:
        return _bpf(_PROG_LOAD, attributes)
    except OSError as error:
        words = log.value.decode(errors="replace")
        raise OSError(error.errno, f"{error.strerror}\n{words}") from error


def attach_xdp(program: int, interface_index: int) -> int:
    """The descriptor that keeps `program` attached to an interface, in generic mode."""
    fields = program, interface_index, _ATTACH_XDP, _F_GENERIC_XDP
    return _bpf(_LINK_CREATE, struct.pack("<IIII", *fields))


def run_live(program: int, frame: bytes, interface_index: int, count: int) -> None:
    """Lets `program` handle `count` copies of `frame` as if `interface_index` received them.

    InterruptedError when a signal came first: how far it got, only the program knows.
    """
    data = ctypes.create_string_buffer(frame, len(frame))
    packed = struct.pack("<IIIIII", 0, len(frame), 0, interface_index, 0, 0)
    context = ctypes.create_string_buffer(packed, len(packed))
    attributes = struct.pack(
        "<IIIIQQIIIIQQIIIxxxx",
        program,
        0,
        len(frame),
        0,
        ctypes.addressof(data),
        0,
        count,
        0,
        len(packed),
        0,
        ctypes.addressof(context),
        0,
        _F_TEST_XDP_LIVE_FRAMES,
        0,
        _LONGEST_BATCH,
    )
    _bpf(_PROG_TEST_RUN, attributes)
