"""What lasts is told once: doubts about the config, entries that mean nothing, a look that fails.

What of it is so at present is the service's business.
"""

from __future__ import annotations

from capd.events import Kind
from capd.journal import tell


class Notices:
    """What was told last of each."""

    def __init__(self) -> None:
        self._doubts: list[str] = []  # of the config in force
        self._missing: dict[str, str] = {}  # of each interface that is not captured
        self._unseen = ""

    def doubts(self, doubts: list[str]) -> None:
        """Say what is new among them."""
        for doubt in doubts:
            if doubt not in self._doubts:
                tell(Kind.DOUBT, doubt)
        self._doubts = doubts

    def missing(self, waiting: dict[str, str], refused: dict[str, str]) -> None:
        """Say what is not captured, once for each reason."""
        told = waiting | refused
        for name, text in told.items():
            if self._missing.get(name) != text:
                if name in refused:
                    tell(Kind.CANNOT_CAPTURE, f"cannot capture: {text}", interface=name)
                else:
                    tell(Kind.WAITING, text, interface=name)
        self._missing = told

    def unseen(self, text: str) -> None:
        """Say why nobody knows which interfaces there are; nothing if that is known again."""
        if text and text != self._unseen:
            tell(Kind.CANNOT_LOOK, f"{text}; what is captured goes on")
        self._unseen = text
