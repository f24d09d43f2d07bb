"""Segments that could not be deleted: others go in their place, and they are tried again.

One refusal may be an accident; whatever is refused again is passed over for a while, and until
nothing else is left.  Pure: whoever deletes says what came of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from capd.catalog import Segment
from capd.daemon.outlook import Key, key_of

RETRY = 30.0  # seconds


class _Refusal(NamedTuple):
    """The last one of a segment."""

    reason: str
    times: int
    at: float  # in the caller's monotonic seconds


class Stuck:
    """Of one directory."""

    def __init__(self) -> None:
        self._refusals: dict[Key, _Refusal] = {}

    @property
    def reasons(self) -> set[str]:
        """Why segments are still there that were tried again."""
        return {refusal.reason for refusal in self._refusals.values() if refusal.times > 1}

    def passes(self, segment: Segment, now: float) -> bool:
        """Whether another one is to go in its place."""
        refusal = self._refusals.get(key_of(segment))
        return refusal is not None and refusal.times > 1 and now < refusal.at + RETRY

    def learn(self, refused: Mapping[Key, str], now: float) -> bool:
        """These were tried and are still there; whether any was not to be passed over."""
        surprised = False
        for key, reason in refused.items():
            before = self._refusals.get(key, _Refusal(reason, 0, 0.0))
            surprised |= before.times < 2 or now >= before.at + RETRY
            self._refusals[key] = _Refusal(reason, before.times + 1, now)
        return surprised

    def forget(self, there: Iterable[Segment]) -> None:
        """All that are not there any more."""
        if self._refusals:
            known = {key_of(segment) for segment in there}
            self._refusals = {key: one for key, one in self._refusals.items() if key in known}
