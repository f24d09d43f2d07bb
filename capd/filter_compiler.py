"""The program that hands filter texts to libpcap: `filter.py` starts it and reads its answers.

It runs alone, as a file, in `python -I -S`: standard library only, nothing of capd, so
that it starts in a few milliseconds and whatever a filter does to libpcap happens to a
process that holds nothing.  Its argument is the place of the live handle, "namespace" or
"host".  stdin is a JSON list of {"texts": [...], "link_type": int, "snaplen": int};
stdout has one JSON object a line and request, in order:

    {"program": hex}               of the last text; all of them compile
    {"error": str, "text": int}    libpcap's word or the kernel's, and which of the texts
    {"unavailable": str}           no live handle at this place; nothing follows
    {"failure": str}               no libpcap or no glibc here; nothing follows

Ethernet needs libpcap's *live* code: it finds the VLAN tag and the direction where the
kernel keeps them, and compiles `udp port 80 and vlan 5`, which a dead handle refuses
(libpcap gencode.c, BPF_SPECIAL_VLAN_HANDLING).  Links without Ethernet headers carry no
tags: a dead handle is enough for them, and `inbound` works there too (same file,
gen_inbound).
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import math
import os
import resource
import socket
import struct
import sys
from typing import Any

NAMESPACE = "namespace"
CPU_SECONDS = 10  # for one request: 500 addresses take 4, and libpcap's time grows as the square
MEMORY = 512 * 2**20
MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS, <linux/bpf_common.h>
MAX_SNAPLEN = 262144  # libpcap's own limit (pcap-int.h)

# <sched.h>, <linux/sockios.h>, <net/if.h>
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
SIOCSIFFLAGS = 0x8914
IFF_UP = 1

SO_ATTACH_FILTER = 26  # <asm-generic/socket.h>
INSTRUCTION = struct.Struct("HBBI")  # struct sock_filter, <linux/filter.h>
BPF_RET_K = 0x06  # BPF_RET | BPF_K
VLAN_LOADS = {0xFFFFF02C, 0xFFFFF030}  # SKF_AD_OFF + SKF_AD_VLAN_TAG, .._VLAN_TAG_PRESENT
PCAP_NETMASK_UNKNOWN = 0xFFFFFFFF
LINKTYPE_ETHERNET = 1
DLT_OF_LINKTYPE = {101: 12}  # RAW; of the links Linux has, the only one whose numbers differ


class BpfProgram(ctypes.Structure):
    """struct bpf_program, <pcap/bpf.h>."""

    _fields_ = (("bf_len", ctypes.c_uint), ("bf_insns", ctypes.c_void_p))


class NoHandleError(Exception):
    """No live handle can be had at this place."""


class UnusableError(Exception):
    """This machine cannot compile filters at all."""


def main() -> None:
    """Answer the requests on stdin."""
    requests = json.load(sys.stdin.buffer)
    try:
        _refuse_host_names()
        compiler = Compiler(_load_libpcap(), sys.argv[1])
        for request in requests:
            _limit()
            _answer(compiler.compile(**request))
    except UnusableError as error:
        _answer({"failure": str(error)})
    except NoHandleError as error:
        _answer({"unavailable": str(error)})


def _answer(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def _limit() -> None:
    """No core file, no more than MEMORY; and the time for one request, counted from now."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime) + CPU_SECONDS
    for kind, limit in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, MEMORY)):
        hard = resource.getrlimit(kind)[1]
        resource.setrlimit(kind, (limit if hard < 0 else min(limit, hard), hard))


def _refuse_host_names() -> None:
    """Point glibc's name look-ups at a service that does not exist.

    What a name means changes behind capd's back, and the file records the text.  Ports
    and protocols stay: their names are settled.
    """
    try:
        configure = ctypes.CDLL(None)["__nss_configure_lookup"]
    except AttributeError:
        raise UnusableError("the C library is not glibc") from None
    for database in (b"hosts", b"networks", b"ethers"):
        if configure(database, b"capd_refuses") != 0:
            raise UnusableError(f"glibc keeps looking up {database.decode()}")


def _load_libpcap() -> ctypes.CDLL:
    for name in ("libpcap.so.1", "libpcap.so.0.8", "libpcap.so"):
        try:
            pcap = ctypes.CDLL(name, use_errno=True)
        except OSError:
            continue
        pcap.pcap_create.restype = ctypes.c_void_p
        pcap.pcap_open_dead.restype = ctypes.c_void_p
        pcap.pcap_geterr.restype = ctypes.c_char_p
        pcap.pcap_statustostr.restype = ctypes.c_char_p
        pcap.pcap_geterr.argtypes = [ctypes.c_void_p]
        pcap.pcap_activate.argtypes = [ctypes.c_void_p]
        pcap.pcap_compile.argtypes = [
            ctypes.c_void_p,
            ctypes.POINTER(BpfProgram),
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_uint32,
        ]
        return pcap
    raise UnusableError("libpcap is not installed; on Debian: apt install libpcap0.8")


class Compiler:
    """libpcap with one handle per link type, opened when it is first needed."""

    def __init__(self, pcap: ctypes.CDLL, place: str) -> None:
        self._pcap = pcap
        self._place = place
        # Of the caller's network: how long a program may be is a setting of it.
        self._trial = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)[0]
        self._handles: dict[int, int] = {}

    def compile(self, texts: list[str], link_type: int, snaplen: int) -> dict[str, Any]:
        """The answer to one request: the last text's program, or the first text's error."""
        if link_type not in self._handles:
            self._handles[link_type] = self._open(link_type)
        handle = self._handles[link_type]
        code = b""
        for index, text in enumerate(texts):
            made = self._code(handle, text.encode(), optimized=True)
            if made is not None and _asks_for_tags(made):
                made = self._code(handle, text.encode(), optimized=False)
            if made is None:
                return {"error": self._error(handle), "text": index}
            if len(made) > MAX_INSTRUCTIONS * INSTRUCTION.size:
                count = len(made) // INSTRUCTION.size
                why = f"{count} instructions; the kernel takes {MAX_INSTRUCTIONS} at most"
                return {"error": why, "text": index}
            code = _keep(made, snaplen)
        try:
            self._try(code)
        except OSError as error:
            why = f"the kernel refuses what libpcap makes of it: {error.strerror}"
            return {"error": why, "text": len(texts) - 1}
        return {"program": code.hex()}

    def _code(self, handle: int, text: bytes, *, optimized: bool) -> bytes | None:
        program = BpfProgram()  # never freed: this process ends with its answers
        if self._pcap.pcap_compile(handle, program, text, optimized, PCAP_NETMASK_UNKNOWN) != 0:
            return None
        return ctypes.string_at(program.bf_insns, program.bf_len * INSTRUCTION.size)

    def _try(self, code: bytes) -> None:
        """Have the kernel look at the program as for a ring.  OSError.

        It takes no loops (`protochain`), and nothing that reads what was never stored, as
        libpcap 1.10 has it do for `vlan and pppoes` (net/core/filter.c, check_load_and_stores).
        """
        buffer = ctypes.create_string_buffer(code, len(code))
        program = struct.pack("HP", len(code) // INSTRUCTION.size, ctypes.addressof(buffer))
        self._trial.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def _open(self, link_type: int) -> int:
        if link_type == LINKTYPE_ETHERNET:
            return self._open_live()
        dlt = DLT_OF_LINKTYPE.get(link_type, link_type)
        handle: int | None = self._pcap.pcap_open_dead(dlt, MAX_SNAPLEN)
        if handle is None:
            raise UnusableError("libpcap is out of memory")
        return handle

    def _open_live(self) -> int:
        if self._place == NAMESPACE:
            _enter_namespace()
        errors = ctypes.create_string_buffer(256)
        handle: int | None = self._pcap.pcap_create(b"lo", errors)
        if handle is None:
            raise NoHandleError(errors.value.decode(errors="replace"))
        status = self._pcap.pcap_activate(handle)
        if status < 0:
            name = self._pcap.pcap_statustostr(status).decode(errors="replace")
            raise NoHandleError(self._error(handle) or name)
        return handle

    def _error(self, handle: int) -> str:
        message: bytes = self._pcap.pcap_geterr(handle)
        return message.decode(errors="replace").strip()


def _asks_for_tags(code: bytes) -> bool:
    """Whether libpcap's optimizer must stay away.

    It breaks the jumps that `vlan` is made of: `ip and vlan 5` then matches nothing (1.10.3),
    `arp or (vlan and arp)` too much (issue 1513 of the-tcpdump-group/libpcap).
    """
    return any(value in VLAN_LOADS for _, _, _, value in INSTRUCTION.iter_unpack(code))


def _keep(code: bytes, snaplen: int) -> bytes:
    """The program with `snaplen` in place of what it returns for a packet it accepts."""
    return b"".join(
        INSTRUCTION.pack(opcode, jump_true, jump_false, snaplen)
        if opcode == BPF_RET_K and value
        else INSTRUCTION.pack(opcode, jump_true, jump_false, value)
        for opcode, jump_true, jump_false, value in INSTRUCTION.iter_unpack(code)
    )


def _enter_namespace() -> None:
    """A network of our own, where anyone may open `lo`; it comes without addresses and down."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
        raise NoHandleError(os.strerror(ctypes.get_errno()))
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))
    except OSError as error:
        raise NoHandleError(f"lo: {error.strerror}") from error


if __name__ == "__main__":
    main()
