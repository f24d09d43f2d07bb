"""A disk that takes nothing: how long it has been so, when to try again, what to say of it.

It knows times and words; what is written, and what is given up, is the writer's business.
"""

from __future__ import annotations

import time
from typing import Protocol

from capd.events import Kind
from capd.units import SECOND, format_count, format_duration

RETRY = SECOND // 100  # ns until a refused write is tried again
WORTH_TELLING = SECOND // 2  # ns of refusal that heal without loss and without a word
TRIES = 5  # at the least: a worker that was stopped meanwhile has not tried for so long
STEADY = SECOND  # ns without refusal after which the disk is believed again


class Tell(Protocol):
    """Says something that a person should read, with facts for programs."""

    def __call__(self, kind: Kind, text: str, **facts: int) -> None: ...


class Refusal:
    """One ring's; `lost` is everywhere what the disk has cost so far, in packets."""

    def __init__(self, tell: Tell) -> None:
        self.reason = ""  # of the latest
        self._tell = tell
        self._since = 0  # monotonic ns; 0 while the disk takes everything
        self._tries = 0  # refused since then
        self._accepted_since = 0  # the same, while it took everything after a refusal
        self._told = self._full = False
        self._giving_up = False
        self._retry_at = 0
        self._lost_before = 0

    @property
    def holding(self) -> bool:
        """Whether the next block has to wait."""
        return time.monotonic_ns() < self._retry_at

    def retry(self) -> None:
        """What was refused may work now."""
        self._retry_at = 0

    @property
    def refuses(self) -> bool:
        """Whether the disk has taken nothing since it refused."""
        return bool(self._since) and not self._accepted_since

    @property
    def full(self) -> bool:
        """Whether it refuses for want of room, for longer than heals without a word."""
        return self.refuses and self._told and self._full

    def refused(self, reason: str, lost: int, *, full: bool) -> bool:
        """The disk did not take a block; True once blocks may be given up for it.

        `full`: there is no room on it.
        """
        now = time.monotonic_ns()
        self.reason, self._full = reason, full
        self._retry_at, self._accepted_since = now + RETRY, 0
        if not self._since:
            self._since, self._tries = now, 0
            self._lost_before = lost
        self._tries += 1
        if now - self._since <= WORTH_TELLING or self._tries < TRIES:
            return False
        if not self._told:
            self._told = True
            text = f"cannot write: {reason}; packets wait in the ring meanwhile"
            self._tell(Kind.DISK_REFUSES, text)
        return True

    def given_up(self) -> None:
        """Blocks have been given up."""
        if not self._giving_up:
            self._giving_up = True
            text = "the ring is nearly full: packets are lost until the disk takes more"
            self._tell(Kind.DISK_LOSES, text)

    def accepted(self) -> None:
        """The disk took a block."""
        if self._since and not self._accepted_since:
            self._accepted_since = time.monotonic_ns()

    def tend(self, lost: int, *, last: bool = False) -> None:
        """Believe the disk again if it has been steady; `last`: whatever comes."""
        if not self._accepted_since:
            return
        if last or time.monotonic_ns() - self._accepted_since > STEADY:
            took = (self._accepted_since - self._since) // 10**6 * 10**6
            lost -= self._lost_before
            if lost or self._told:
                what = f"{format_count(lost)} packets lost to the disk"
                text = f"writes again after {format_duration(took)}; {what}"
                self._tell(Kind.DISK_RECOVERED, text, packets=lost)
            self._since = self._accepted_since = 0
            self._told = self._giving_up = False
