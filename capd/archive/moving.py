"""Moving a finished segment to the second, slower directory: copied, read back, named, deleted.

The same names below another directory.  Killed at any point there is the segment in the first
place, or whole in both; then the next move finds it there and deletes the first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from isal.isal_zlib import crc32

from capd import folders, index
from capd.archive.compressor import Between, MismatchError
from capd.archive.direct import Reader, Writer
from capd.archive.folder import File, Folder
from capd.archive.keeping import draft, read_index, remove
from capd.errors import StorageError
from capd.index import Index
from capd.names import TEMPORARY_SUFFIX, SegmentName

PIECE = 4 * 2**20  # bytes


class Shelf:
    """The folder in the second directory to which a segment goes."""

    def __init__(self, fd: int, folder: Folder) -> None:
        self._fd = fd
        self.folder = folder

    @property
    def free(self) -> int:
        """Bytes of its disk that may be used."""
        space = os.fstatvfs(self._fd)
        return space.f_bavail * space.f_frsize


@contextmanager
def shelf(directory: str, path: str, *, require_mount: bool) -> Iterator[Shelf]:
    """The folder at `path` below `directory`, which must be there; the rest is made.

    OSError; StorageError if it is on the root file system and must not be.
    """
    fds = [os.open(directory, folders.DIRECTORY)]
    try:
        status = os.fstat(fds[0])
        if require_mount and folders.is_on_root(fds[0]):
            raise StorageError("it is on the root file system, and require_mount is set")
        for name in path.split("/"):
            fds.append(folders.subfolder(fds[-1], name))
        yield Shelf(fds[-1], Folder(fds[-1], {os.geteuid(), status.st_uid}))
    finally:
        for fd in fds:
            os.close(fd)


def move(
    source: Folder, target: Folder, name: SegmentName, contents: Index, between: Between
) -> bool:
    """Move a segment whose index says `contents`; False if it is gone meanwhile.

    MismatchError: what was copied is not what is read back.  OSError.
    """
    if read_index(target, name) == contents:
        target.sync()  # whoever renamed it may have died before
    elif not _copy(source, target, name, contents, between):
        return False
    remove(source, name)
    return True


def _copy(
    source: Folder, target: Folder, name: SegmentName, contents: Index, between: Between
) -> bool:
    """False if the segment is gone meanwhile."""
    with source.reading(name.file) as data, draft(target) as made:
        if data is None:
            return False
        checksum = made.write(name.file, lambda file: _transfer(data, file, between))
        with target.reading(name.file + TEMPORARY_SUFFIX) as copy:
            if copy is None or _transfer(copy, None, between) != checksum:
                raise MismatchError("its copy does not come back as what it was made of")
        made.write(name.index_file, lambda file: file.append(index.encode(contents)))
        if not source.has(name.file, data.status):
            return False  # retention took it
        target.remove(name.file)  # half of something, or its index is: `move` has looked
        made.publish(name.index_file)
        made.publish(name.file)
        target.sync()
        made.keep()
    return True


def _transfer(data: File, target: Writer | None, between: Between) -> int:
    """Copy a file, or only read it; its checksum."""
    reader = Reader(data.fd, PIECE, direct=data.direct)
    checksum = 0
    while reader.offset < reader.size:
        between()
        reader.fill(PIECE)
        window = reader.window
        checksum = crc32(window, checksum)
        if target is not None:
            target.append(window)
        count = len(window)
        del window
        reader.take(count)
    return checksum
