"""Memory to write from past the page cache: whole pages, and huge ones where there are any.

It knows no file, and nothing of what is written.
"""

from __future__ import annotations

import contextlib
import mmap

PAGE = 4096
HUGE_PAGE = 2 * 2**20


def buffer(size: int) -> mmap.mmap:
    """So many bytes, at the beginning of a page."""
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if size >= HUGE_PAGE:
        with contextlib.suppress(OSError):  # a kernel may have none: a real-time one has not
            memory.madvise(mmap.MADV_HUGEPAGE)
    return memory
