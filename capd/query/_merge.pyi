"""One stream of records out of the entries of many runs; the code is in `_merge.c`."""

from mmap import mmap

Content = bytes | bytearray | memoryview | mmap

def order(entries: bytearray, newest: int, window: int, /) -> tuple[int, int]:
    """Put the entries of one run into the order of time, in place.

    `newest`: the largest stamp of the ring's runs before.  A stamp that is older than the newest
    one before it by more than `window` ns counts as just so old.  Gives (newest, late): the new
    largest stamp, and how many were so late.
    """

def merge(
    runs: list[tuple[Content, bytearray, int, int]],
    up_to: int,
    out: bytearray,
    snaplen: int,
    classic: bool,
    most: int,
    /,
) -> tuple[int, int, tuple[int, ...]]:
    """Write the records of all entries whose key is below `up_to`, in the order of keys, to `out`.

    A run: the content, its ordered entries, how many of them are written already, and the number
    of their interface in the file.  Stops when `most` packets are written or the next record may
    not fit.  `classic`: pcap's records instead of pcapng's blocks.  Gives (size, packets,
    places): bytes of `out` in use, packets in them, and for each run how many of its entries
    are written now.  ValueError: an entry that does not belong to its content.
    """
