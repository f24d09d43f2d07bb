"""The fault matrix: what can go wrong with a recorder, and what must be so afterwards.

The rows only.  Which tests hold a row is said by the tests, `@pytest.mark.fault(20)`: each asserts
what stands here under "after".  `tests/faults` runs them, by `fault_table.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tests.support.marks import files_of
from tests.support.roots import CHECKOUT


class Row(NamedTuple):
    """A fault; `why`: what of it is not run, or was replaced by something else, and the reason."""

    number: int
    fault: str
    after: str
    why: str = ""

    def tests(self) -> list[Path]:
        """The files in which tests name this row."""
        return files_of("fault", self.number)


MATRIX = (
    # Capture
    Row(1, "numbered frames, no stress", "all once, in order, byte for byte; readers agree"),
    Row(
        2,
        "the worker stands still, a small ring",
        "sent = written + ring, with a record",
        "the count stands in isb_osdrop; capd writes no epb_dropcount",
    ),
    Row(3, "status and metrics are read during loss", "the counts are as if nobody had read"),
    Row(4, "counters wrap or begin anew", "totals grow by what is known, no leap"),
    Row(5, "no tag, VID 0, one, QinQ, a runt", "bytes as on the wire, none above snaplen"),
    Row(6, "one filter, live and stored, 0 to 2 tags", "the same packets"),
    Row(7, "other links are loud while a ring opens", "none of theirs is in the file"),
    Row(8, "a frame above snaplen, block, 262144", "cut and counted, its length kept"),
    Row(9, "a packet, then silence", "soon in a readable file; the process sleeps"),
    Row(10, "a link goes down and comes up", "no spin, the ring goes on, the gap has a cause"),
    Row(11, "an interface is deleted and made again", "back soon, the gap told, others whole"),
    Row(12, "an interface is missing at the start", "others are captured; told; taken later"),
    Row(13, "an interface is renamed, or moved away", "goes on; moved away is deleted"),
    Row(14, "a tunnel beside Ethernet", "segments of their own, each readable"),
    Row(15, "the clock steps", "nothing is overwritten; packets of both sides are found"),
    Row(16, "stamps out of order", "an extraction gives exactly the range"),
    Row(
        17,
        "hardware stamps that the NIC does not have",
        "no stamp is anything but the kernel's own",
        "capd asks for none, so no two kinds can mix; veth refuses them with EOPNOTSUPP",
    ),
    Row(18, "no memory for a ring", "refused with what there is; the old one goes on"),
    Row(19, "a ring block that lies", "nothing outside is read, it is counted, capture goes on"),
    # Files and recovery
    Row(20, "SIGKILL at the n-th system call", "closed segments stay, the rest is salvaged"),
    Row(
        21,
        "power cut at any moment",
        "after fsck as row 20; a final name is a whole file",
        "twenty moments of an ext4 on an XFS: no device mapper here, and ext4 cannot be cloned",
    ),
    Row(22, "a .part cut at every byte", "every whole block is kept, twice gives the same"),
    Row(23, "every byte of a file changed", "noticed, or nothing else is lost; no crash"),
    Row(
        24,
        "tails of zeros or noise, empty files",
        "closed, or set aside",
        "what certainly holds no packet is deleted: there is nothing to keep in it",
    ),
    Row(25, "an index missing, stale, foreign, newer", "ignored, made again, same answers"),
    Row(26, "compression is cut off, refused, corrupt", "raw until verified; one form counts"),
    Row(27, "every compressed segment", "one frame, which zstd, tshark and tcpdump read"),
    Row(28, "a segment without a packet", "is a readable file"),
    Row(29, "a name that is taken", "another number; nothing is overwritten"),
    Row(30, "100,000 segments", "a start, a list and a pass in seconds, memory bounded"),
    # Disk
    Row(31, "a disk smaller than the traffic", "the reserve stays, the oldest goes, no loss"),
    Row(32, "somebody else fills the disk", "told in 5 s, counted as disk, over by itself"),
    Row(
        33,
        "the n-th call on a file fails, or is short",
        "no corrupt segment; counts right",
        "capd reserves no space ahead, so that no fallocate can fail",
    ),
    Row(34, "a file system without O_DIRECT", "the same bytes, told once"),
    Row(35, "a slow disk", "the loss has the disk as its cause; afterwards none"),
    Row(36, "no inodes left", "as a full disk; the oldest goes, and that helps"),
    Row(37, "other people's files, links, folders", "only capd's own go, the oldest first"),
    Row(
        38,
        "deleted, but not yet free",
        "readers get all",
        "what a reader holds open is not free, and room is made elsewhere",
    ),
    Row(39, "limits: file size, open files", "an error, no death; capture goes on"),
    Row(40, "the directory is unmounted, read-only, gone", "told; nothing below; back again"),
    # Control, config, service
    Row(41, "SIGTERM under load", "accepted = written + drops, in time"),
    Row(42, "SIGKILL, and systemd starts again", "what came meanwhile is there, counts go on"),
    Row(43, "reloads, good and bad", "a bad one changes nothing; what stays loses nothing"),
    Row(44, "reloads without a pause, and a stop", "one state; no descriptor or memory more"),
    Row(45, "a worker or the daemon hangs", "it is replaced; READY means ready"),
    Row(46, "an extraction beside all else", "each packet once, in order; what lacks is told"),
    Row(47, "hostile filters", "refused, or compiled within limits; no shell"),
    Row(48, "hostile segments", "no crash, bounded memory"),
    Row(
        49,
        "the place where segments go fails",
        "nothing is deleted before it is verified; tried again, in bounds",
        "no S3 in capd: [archive] moves to another directory, [hook] runs a command",
    ),
    Row(50, "control socket: strangers, floods", "refused or dropped; capture loses nothing"),
    Row(51, "hostile modes and links in the directory", "refused; nothing outside; modes right"),
    Row(52, "the shipped unit's confinement", "all of it works in it, with CAP_NET_RAW"),
    Row(53, "odd numbers from the kernel", "unknown is unknown: no 0, no exception"),
    Row(54, "loss around an alert's threshold", "one alert, one all-clear; it can be tried"),
    Row(
        55,
        "hours of all of it at once",
        "each packet once or counted; nothing grows",
        "five minutes; for hours there is a command of its own, tests/soak",
    ),
)


def rows_asked_for(words: Iterable[str]) -> list[Row]:
    """The rows of these numbers, or all; ValueError tells of what is no row."""
    known = {str(row.number): row for row in MATRIX}
    words = list(words)
    if unknown := [word for word in words if word not in known]:
        raise ValueError(f"no row of the fault matrix: {', '.join(unknown)}")
    return [known[word] for word in words] if words else list(MATRIX)


def main() -> None:
    """Prints the files that hold the tests of the rows in the command line, and of the matrix."""
    try:
        asked = rows_asked_for(sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
    found = {path for row in asked for path in row.tests()}
    for path in ["tests/test_matrix.py", *sorted(str(one.relative_to(CHECKOUT)) for one in found)]:
        print(path)


if __name__ == "__main__":
    main()
