"""One ring's folder below the capture directory: making, naming and removing its files.

Every name is opened relative to the folder's descriptor and never through a symbolic
link, so nothing that is put into its place later can lead capd elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable

from capd import folders, names
from capd.capture import earlier
from capd.errors import StorageError
from capd.survey import UNTOLD, survey

FILE_MODE = 0o640
MOST_HEADER = 256 * 1024  # bytes, with the padding of its last page


class Folder:
    """An open folder; the files in it belong to one worker."""

    def __init__(
        self, directory: str, ring: str, *, second: str = "", require_mount: bool = False
    ) -> None:
        """`require_mount`: not while the directory is on the root file system.

        `second`: the directory to which finished segments move; "": none.
        """
        self._ring = ring
        self._second = second
        self.path = f"{directory}/{ring}"
        try:
            parent = os.open(directory, folders.DIRECTORY)
            try:
                if require_mount and os.fstat(parent).st_dev == os.stat("/").st_dev:
                    raise StorageError(
                        f"cannot use {self.path}: it is on the root file system, and "
                        "require_mount is set; mount its disk"
                    )
                self._fd = folders.subfolder(parent, ring)
            finally:
                os.close(parent)
        except OSError as error:
            raise StorageError(f"cannot use {self.path}: {error.strerror}") from error

    def is_deleted(self) -> bool:
        """Whether it is gone for ever.  OSError; StorageError: it is not where its path leads."""
        here = os.fstat(self._fd)
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.stat(self.path, follow_symlinks=False), here):
                return False
        if here.st_nlink:
            raise StorageError(
                f"{self.path} is gone: its disk was unmounted, or somebody moved it; "
                "no new file is begun until it is back"
            )
        return True

    def close(self) -> None:
        """It is not used any more."""
        os.close(self._fd)

    def last_number(self, tell: Callable[[str], None]) -> int:
        """The highest number that a segment of this ring has or had; 0 for none.

        A folder without any may be on a new disk, and what moved to the second directory before
        is still there: its numbers are used.  `tell` is told what cannot be looked at.
        """

        def doubt(name: str, error: OSError) -> None:
            text = f"cannot read {self.path}/{name}: {error.strerror}"
            tell(f"{text}; numbers of segments in it may be used again")

        last = earlier.highest(self._fd, doubt)
        if not last and self._second:
            try:
                last = earlier.highest_in(f"{self._second}/{self._ring}")
            except StorageError as error:
                tell(f"{error}; numbers of segments begin again in {self.path}")
        return last

    def create(self, seq: int) -> tuple[int, bool]:
        """A new `.part` file: its descriptor, and whether it is written past the page cache."""
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        name = names.part_name(seq)
        try:
            return os.open(name, flags | os.O_DIRECT, FILE_MODE, dir_fd=self._fd), True
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        # The file system does not know O_DIRECT, and says so after it made the file.
        self.remove(seq)
        return os.open(name, flags, FILE_MODE, dir_fd=self._fd), False

    def reopen(self, seq: int) -> tuple[int, bool] | None:
        """The `.part` file that another worker left, as `create` gives it; None if it is gone."""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        name = names.part_name(seq)
        try:
            return os.open(name, flags | os.O_DIRECT, dir_fd=self._fd), True
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
        return os.open(name, flags, dir_fd=self._fd), False

    def remove_after(self, seq: int) -> None:
        """Remove the files that a worker made ahead of segment `seq`, the last with a packet.

        What else has such a number lay on a disk that was mounted since: salvage is for that.
        """
        for name in os.listdir(self._fd):
            if (names.parse_part(name) or 0) > seq and self._is_bare(name):
                os.unlink(name, dir_fd=self._fd)

    def _is_bare(self, name: str) -> bool:
        """Whether a file holds nothing but a header, if that; False: that cannot be seen."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with open(os.open(name, flags, dir_fd=self._fd), "rb") as file:
                content = file.read(MOST_HEADER + 1)
        except OSError:
            return False
        if not content:
            return True
        found = survey(content, 0, len(content))
        whole = len(content) <= MOST_HEADER and not found.fault
        return whole and not found.packets and found.lost == UNTOLD

    def remove(self, seq: int) -> None:
        """Remove a `.part` file in which there is no packet."""
        try:
            os.unlink(names.part_name(seq), dir_fd=self._fd)
        except FileNotFoundError:
            return

    def rename(self, seq: int, stamp: int, *, trusted: bool) -> names.SegmentName:
        """Give a complete segment its final name; `stamp` is the smallest one inside, in ns."""
        suffix = names.SEGMENT_SUFFIX if trusted else names.SUSPECT_SUFFIX
        name = names.SegmentName(self._ring, stamp, seq, suffix)
        folders.rename_segment(self._fd, names.part_name(seq), name)
        return name

    def sync(self, name: names.SegmentName) -> None:
        """Make a segment's new name durable."""
        folders.sync_name(self._fd, name)
