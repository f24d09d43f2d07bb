"""Small files that others read: written whole, or not at all."""

from __future__ import annotations

import contextlib
import os


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
