"""Whether the disk has all of a file; one that it refused once is never trusted again.

The kernel tells of a page that it could not write only once: the next fdatasync succeeds, also
that of the next process.  So the refusal is marked in the file's mode, where whoever takes the file
up later finds it, after a power cut, too: the sticky bit, which means nothing for a file.  Once the
file has its final name, that says it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

REFUSED = stat.S_ISVTX


def confirm(fd: int) -> None:
    """Have the disk confirm a file.  OSError: it refuses, or did before."""
    try:
        os.fdatasync(fd)
    except OSError:
        with contextlib.suppress(OSError):  # then it is known for as long as this process lives
            mode = stat.S_IMODE(os.fstat(fd).st_mode)
            if not mode & REFUSED:
                os.fchmod(fd, mode | REFUSED)
                os.fsync(fd)
        raise
    if os.fstat(fd).st_mode & REFUSED:
        raise OSError(errno.EIO, "it refused before")
