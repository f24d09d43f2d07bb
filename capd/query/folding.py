"""Words that a program asks the kernel for, put into the program as constants.

A live filter finds the outer VLAN tag and the direction not in the frame but in ancillary data
(<linux/filter.h>, SKF_AD_*).  A stored packet has none: the extraction takes the tag off again and
runs the program with these loads replaced by what they would have given.  This module owns that
replacement; it runs no program.

Behind `pppoes` libpcap 1.10 shifts the packet type's offset as if it were in the frame: a live
filter then asks for the receive queue, whatever it says.  That is refused here.

Of libpcap 1.10's live code, `vlan` loads whether there is a tag and its TCI, `inbound` and
`outbound` the packet type, `ifindex` the interface's number, which no segment records.  Byte
offsets below zero can spell all other words too.
"""

from __future__ import annotations

import enum
import struct

from capd.errors import FilterError

INSTRUCTION = struct.Struct("=HBBI")  # struct sock_filter: code, jump if true, if false, k
LOAD_CONSTANT = 0x00  # BPF_LD | BPF_W | BPF_IMM

# BPF_LD | BPF_ABS with BPF_W, BPF_H, BPF_B: the kernel gives the whole word for each size.
_LOADS = (0x20, 0x28, 0x30)
_NEGATIVE = 1 << 31  # offsets from here on are the kernel's own places, not bytes of the frame
_ANCILLARY = 0xFFFFF000  # SKF_AD_OFF
_INTERFACE = _ANCILLARY + 8  # SKF_AD_IFINDEX
_PACKET_OUTGOING = 4  # <linux/if_packet.h>; incoming ones are PACKET_HOST, 0


class Word(enum.Flag):
    """What a program can ask the kernel for, and be told of a stored packet."""

    DIRECTION = enum.auto()
    TAG = enum.auto()  # the TCI: priority, DEI and VLAN
    TAG_PRESENT = enum.auto()


_WORDS = {
    _ANCILLARY + 4: Word.DIRECTION,  # SKF_AD_PKTTYPE
    _ANCILLARY + 44: Word.TAG,  # SKF_AD_VLAN_TAG
    _ANCILLARY + 48: Word.TAG_PRESENT,  # SKF_AD_VLAN_TAG_PRESENT
}


def ancillary(program: bytes) -> Word:
    """The words that a program loads; Word(0): it looks at the frame only.

    The program is an array of struct sock_filter, as compile_filters gives it.  FilterError: it
    loads what no stored packet can tell.
    """
    loaded = Word(0)
    for code, _, _, offset in INSTRUCTION.iter_unpack(program):
        if code in _LOADS and offset >= _NEGATIVE:
            loaded |= _word(offset)
    return loaded


def fold(program: bytes, *, tag: int | None, outbound: bool | None) -> bytes:
    """The program for packets of this tag and direction: of the same length, and no word to load.

    `tag` is the whole TCI of the outer tag, None without one.  `outbound` None is a direction
    that was not recorded: ValueError if the program asks for it.  FilterError as of `ancillary`.
    """
    if Word.DIRECTION in ancillary(program) and outbound is None:
        raise ValueError("the program asks for a direction, and none is known")
    values = {
        Word.DIRECTION: _PACKET_OUTGOING if outbound else 0,
        Word.TAG: tag or 0,
        Word.TAG_PRESENT: int(tag is not None),
    }
    folded = bytearray(program)
    for at in range(0, len(program), INSTRUCTION.size):
        code, _, _, offset = INSTRUCTION.unpack_from(program, at)
        if code in _LOADS and offset >= _NEGATIVE:
            INSTRUCTION.pack_into(folded, at, LOAD_CONSTANT, 0, 0, values[_word(offset)])
    return bytes(folded)


def _word(offset: int) -> Word:
    if offset in _WORDS:
        return _WORDS[offset]
    if offset == _INTERFACE:
        raise FilterError(
            "cannot look for an interface's number: segments do not record it; use --interface"
        )
    raise FilterError(
        f"cannot look at the byte offset {offset - 2**32}: no stored packet has anything there; "
        "offsets begin at 0, and `inbound` and `outbound` must stand before `pppoes`"
    )
