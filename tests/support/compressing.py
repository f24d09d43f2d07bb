"""Compressing one file without the archive process around it."""

from __future__ import annotations

import os
from pathlib import Path

from capd.archive.compressor import Compressed, compress, examine, room
from capd.archive.direct import Reader, Writer
from capd.archive.rebuild import rebuild
from capd.index import Index


def compress_file(source: Path, target: Path, level: int, section_size: int) -> Compressed:
    """As the archive process does it, past the page cache."""
    target.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_DIRECT
    inward, outward = os.open(source, os.O_RDONLY | os.O_DIRECT), os.open(target, flags, 0o640)
    try:
        reader = Reader(inward, room(section_size), direct=True)
        writer = Writer(outward, direct=True)
        made = compress(reader, writer, level, section_size, go_on)
        writer.finish()
        return made
    finally:
        os.close(inward)
        os.close(outward)


def examine_file(source: Path, section_size: int) -> Index:
    """The index alone."""
    fd = os.open(source, os.O_RDONLY | os.O_DIRECT)
    try:
        return examine(Reader(fd, room(section_size), direct=True), section_size, go_on)
    finally:
        os.close(fd)


def rebuild_file(source: Path) -> Index:
    """The index of a compressed segment, out of nothing else."""
    fd = os.open(source, os.O_RDONLY | os.O_DIRECT)
    try:
        return rebuild(Reader(fd, room(0), direct=True), go_on)
    finally:
        os.close(fd)


def go_on() -> None:
    """There is no load."""
