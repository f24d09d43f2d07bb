"""What happens in a soak, as it is printed: each act, and each problem with the act before it."""

from __future__ import annotations

import threading
import time
from collections import Counter


class Log:
    """One for a run; any thread may write."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.problems: list[str] = []
        self.acts: Counter[str] = Counter()  # by kind: those that were done
        self._told: list[tuple[float, str]] = [(self.begun, "the start")]
        self._done: list[tuple[float, str]] = []  # when, and of which kind
        self._lock = threading.Lock()

    def act(self, kind: str, text: str) -> None:
        """Something is about to be done."""
        with self._lock:
            self.acts[kind] += 1
            self._done.append((time.monotonic(), kind))
            self._told.append((time.monotonic(), text))
            print(f"{self._clock()} {text}", flush=True)

    def since(self, *kinds: str) -> float:
        """Seconds since the last act of one of these."""
        with self._lock:
            times = (at for at, kind in self._done if kind in kinds)
            return time.monotonic() - max(times, default=0.0)

    def problem(self, text: str, at: float | None = None) -> None:
        """Something is wrong, since `at` (monotonic) or now."""
        with self._lock:
            when = time.monotonic() if at is None else at
            before = [told for told in self._told if told[0] <= when] or self._told[:1]
            moment, deed = before[-1]
            said = f"{text}; at {when - self.begun:.1f} s, {when - moment:.1f} s after: {deed}"
            self.problems.append(said)
            print(f"{self._clock()} PROBLEM {said}", flush=True)

    def say(self, text: str) -> None:
        """Something worth knowing."""
        with self._lock:
            print(f"{self._clock()} {text}", flush=True)

    def _clock(self) -> str:
        return f"{time.monotonic() - self.begun:8.1f} s"
