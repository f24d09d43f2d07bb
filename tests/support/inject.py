"""The frame source as a process of its own, to be pinned, timed and killed.

    python -m tests.support.inject --namespace NS --interface IF --shape imix --count N

Prints the number of frames that the kernel received.
"""

from __future__ import annotations

import argparse
import socket
import sys

from tests.support.frames import Shape, Stream, Tag
from tests.support.net import inside
from tests.support.xdp import FrameSource


def parse_tag(text: str) -> Tag:
    """`8100:101`: a TPID in hexadecimal and a TCI in decimal."""
    tpid, _, tci = text.partition(":")
    return int(tpid, 16), int(tci)


def arguments(
    stream: Stream, namespace: str, interface: str, count: int, rate: float | None = None
) -> list[str]:
    """The command line that injects `count` frames of `stream`, run from the top folder.

    Its shape must be one that `Shape.parse` knows.
    """
    line = [sys.executable, "-m", "tests.support.inject", "--namespace", namespace]
    line += ["--interface", interface, "--shape", stream.shape.name, "--count", str(count)]
    line += ["--first", str(stream.first)]
    line += [word for tpid, tci in stream.tags for word in ("--tag", f"{tpid:x}:{tci}")]
    return line if rate is None else [*line, "--rate", str(rate)]


def main() -> None:
    """Parses the command line and injects."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", help="of the interface; default: the caller's")
    parser.add_argument("--interface", required=True)
    parser.add_argument("--shape", type=Shape.parse, required=True, help="imix, or bytes")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--first", type=int, default=0, help="number of the first frame")
    parser.add_argument("--rate", type=float, help="frames a second; default: full speed")
    parser.add_argument("--tag", type=parse_tag, action="append", default=[], help="8100:101")
    given = parser.parse_args()
    with inside(given.namespace):
        index = socket.if_nametoindex(given.interface)
    stream = Stream(given.shape, tuple(given.tag), given.first)
    with FrameSource(stream, index, given.namespace) as source:
        if given.rate is None:
            source.inject(given.count)
        else:
            source.inject_at(given.rate, given.count)
        print(source.sent)


if __name__ == "__main__":
    main()
