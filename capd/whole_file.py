"""Small files that others read: written whole or not at all, and read whatever lies in their place.

Who may write to the folder may put a link, a pipe or a heap of bytes there.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat


def read(path: str, most: int) -> bytes:
    """The content of a regular file of no more than `most` bytes, at once.  OSError."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file")
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"it is longer than {most} bytes")
        return file.read(status.st_size)  # it is not written to where it lies


def write(
    path: str, content: bytes, *, mode: int = 0o640, suffix: str = ".new", durable: bool = False
) -> None:
    """Put a file in place of the one before.  OSError: that one stays.

    It is made under the name with the `suffix`, over whatever a writer that was killed, or
    somebody else, has left there.
    """
    new = path + suffix
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    try:
        with open(os.open(new, flags, mode), "wb") as file:  # a full disk takes a part of it first
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.rename(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(new)
        raise
