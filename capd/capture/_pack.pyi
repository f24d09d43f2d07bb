"""What Python cannot do to a packet ring; the code is in `_pack.c`."""

from mmap import mmap

Memory = mmap | memoryview | bytearray

def pack(
    ring: Memory | bytes,
    block_offset: int,
    block_size: int,
    staging: Memory,
    start: int,
    snaplen: int,
    record_direction: bool,
    since: int,
    until: int,
    /,
) -> tuple[int, int, int, int, int, int, int]:
    """Append the packets of a retired block to `staging` from `start` on, as pcapng.

    Packets stamped before `since`, or from `until` on (ns since 1970), are left out.
    Gives (end, packets, malformed, clamped, first, last, overlap): where the records end in
    `staging`; packets written; packets announced but not in the block, or not whole;
    packets written that the block could not hold up to `snaplen`; smallest and largest
    stamp in ns since 1970 (2**64 - 1 and 0 without a packet); packets left out.
    """

def retired(ring: Memory | bytes, block_offset: int, /) -> bool:
    """Whether the kernel has handed this block over."""

def release(ring: Memory, block_offset: int, /) -> None:
    """Give this block back to the kernel."""

def statistics(fd: int, page: Memory, offset: int, /) -> None:
    """Let the kernel write struct tpacket_stats_v3 into `page`; it zeroes its own.  OSError."""

def die_with_parent(signal: int, /) -> None:
    """Have this process get a signal when the thread that started it ends; 0: none.  OSError."""

def publish(page: Memory, offset: int, value: int, /) -> None:
    """Store 64 bits so that all that was stored before is seen first."""
