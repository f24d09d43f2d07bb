"""What the daemon leaves of a ring for the daemon after it, in the memory beside the ring.

The memfd that carries a worker's state page (its first page, which only the worker touches)
has two slots behind that page.  A slot holds a generation, a length, a CRC and JSON; the
newest whole one counts, so a daemon killed while it writes leaves the one before.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from typing import Any, NamedTuple

from capd.daemon import ringplan
from capd.daemon.ringplan import RingPlan
from capd.errors import RingError
from capd.messages import Counters
from capd.ring import Geometry

FORMAT = 2  # of all that is kept: a daemon of another one cannot go on with it
STATE_PAGE = 4096  # bytes
SLOT = 512 * 1024  # bytes: the longest filter that the kernel takes, and the longest text
SLOTS = 2

_HEADER = struct.Struct("=QII")  # generation, length, CRC of both and of the JSON


class Keepsake(NamedTuple):
    """One ring, as its daemon last saw it."""

    wanted: RingPlan
    born: int  # ns since 1970
    since: int = 0  # its packets stamped before are another ring's
    ending: bool = False  # it is being drained, and has no more to come
    until: int = 0  # its packets stamped from then on are another ring's; 0: there is no other
    told: Counters = Counters()  # whose losses have been told
    untold: int = 0  # ns since 1970: losses that are not in `told` came later


def stored_names(number: int, shape: Geometry) -> tuple[str, str]:
    """Under which systemd keeps the ring whose cookie is `number`, and its memory.

    The shape is in there because the kernel does not tell it.
    """
    sizes = f"{shape.block_size}x{shape.blocks}-{shape.retire_ms}ms"
    return f"ring/v{FORMAT}/{number}/{sizes}", f"memory/v{FORMAT}/{number}"


def make_memory(name: str) -> int:
    """A descriptor of memory for a state page and a keepsake.  OSError."""
    fd = os.memfd_create(name[:200], os.MFD_CLOEXEC)
    try:
        os.ftruncate(fd, STATE_PAGE + SLOTS * SLOT)
    except OSError:
        os.close(fd)
        raise
    return fd


def write(fd: int, keepsake: Keepsake) -> None:
    """Make this the keepsake in `fd`, whole or not at all.  OSError; RingError: too long."""
    fields = {
        "wanted": ringplan.to_fields(keepsake.wanted),
        "born": keepsake.born,
        "since": keepsake.since,
        "ending": keepsake.ending,
        "until": keepsake.until,
        "told": list(keepsake.told),
        "untold": keepsake.untold,
    }
    text = json.dumps(fields).encode()
    if len(text) > SLOT - _HEADER.size:
        raise RingError(f"cannot keep the plan of {keepsake.wanted.name}: its filter is too long")
    generations = [_generation(fd, number) for number in range(SLOTS)]
    number = generations.index(min(generations))
    generation = max(generations) + 1
    head = _HEADER.pack(generation, len(text), _crc(generation, text))
    os.pwrite(fd, head + text, STATE_PAGE + number * SLOT)


def read(fd: int) -> Keepsake:
    """The newest whole keepsake in `fd`; RingError if there is none."""
    newest = max(range(SLOTS), key=lambda number: _generation(fd, number))
    text = _text(fd, newest)
    if text is None:
        raise RingError("cannot take over a ring: its daemon left no word of it")
    fields: dict[str, Any] = json.loads(text)
    try:
        return Keepsake(
            ringplan.from_fields(fields["wanted"]),
            fields["born"],
            fields["since"],
            fields["ending"],
            fields["until"],
            Counters(*fields["told"]),
            fields["untold"],
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RingError(f"cannot take over a ring of another version of capd ({error})") from error


def _generation(fd: int, number: int) -> int:
    """Of a slot; 0 unless it is whole."""
    head = os.pread(fd, _HEADER.size, STATE_PAGE + number * SLOT)
    return int(_HEADER.unpack(head)[0]) if _text(fd, number) is not None else 0


def _text(fd: int, number: int) -> bytes | None:
    place = STATE_PAGE + number * SLOT
    head = os.pread(fd, _HEADER.size, place)
    if len(head) < _HEADER.size:
        return None
    generation, length, crc = _HEADER.unpack(head)
    text = os.pread(fd, length, place + _HEADER.size)
    return text if generation and _crc(generation, text) == crc else None


def _crc(generation: int, text: bytes) -> int:
    return zlib.crc32(text, zlib.crc32(generation.to_bytes(8, "little")))
