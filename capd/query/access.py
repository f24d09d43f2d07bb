"""Who may have packets, and the record of who had them.

To extract is to read other people's traffic: it is for root, the user of the capture directory and
the members of its group, and each extraction is put on record in the journal: before the first
packet, as it may be killed, and at its end.
"""

from __future__ import annotations

import contextlib
import grp
import os
import time

from capd import audit
from capd.errors import StorageError
from capd.events import Kind
from capd.journal import SOCKET, record
from capd.query.extraction import ENDLESS, Request
from capd.units import format_count, format_time


def require_access(directory: str) -> None:
    """StorageError for whoever may not have its packets, or if there is no such directory."""
    try:
        status = os.stat(directory)
    except OSError as error:
        raise StorageError(f"cannot read {directory}: {error.strerror}") from error
    if os.geteuid() in (0, status.st_uid) or status.st_gid in {os.getegid(), *os.getgroups()}:
        return
    group = str(status.st_gid)
    with contextlib.suppress(KeyError):
        group = grp.getgrgid(status.st_gid).gr_name
    raise StorageError(
        f"cannot give packets of {directory}: only root and the members of the group {group} may "
        "have them"
    )


def put_on_record(request: Request, packets: int | None, journal: str = SOCKET) -> None:
    """Say in the journal who had so many packets, or None: who is about to be given some.

    Where there is no journal, nobody is told.
    """
    wanted, who = request.wanted, audit.who()
    since, until = format_time(wanted.since), format_time(min(wanted.until, time.time_ns()))
    if packets is None and wanted.until == ENDLESS:
        until = "the time when it is ended"
    what = "extracts" if packets is None else f"extracted {format_count(packets)}"
    record(
        Kind.EXTRACTING if packets is None else Kind.EXTRACTED,
        f"{who} {what} packets from {since} to {until}",
        journal=journal,
        who=who,
        filter=request.filter or "none",
        interfaces=", ".join(wanted.interfaces) or "all interfaces",
        packets=packets or 0,
        **{"from": since, "to": until},
    )
