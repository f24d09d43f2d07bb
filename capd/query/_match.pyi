"""Which packets of a run of blocks a program accepts; the code is in `_match.c`."""

from mmap import mmap

Content = bytes | bytearray | memoryview | mmap

def match(
    content: Content,
    start: int,
    limit: int,
    link_type: int,
    program: bytes,
    since: int,
    until: int,
    /,
) -> tuple[int, int, int, int, int, int, bytearray]:
    """Search the whole blocks of content[start:limit], which has no head among them.

    `program`: an array of struct sock_filter, b"" for one that accepts everything; only packets
    stamped in [since, until) are shown to it.  Gives (end, behind, fault, packets, newest,
    undirected, entries): just behind the last whole block, and behind the last one that is not
    padding; survey's SHORT or BAD, 0 at the limit; packets that were looked at, the largest stamp
    among them (0 without any), and those of them whose direction is asked for and not recorded;
    16 bytes for each packet that was accepted: stamp, offset and length of its block.
    ValueError: a place outside of the content, or a program that is none or loads what is not
    stored.
    """
