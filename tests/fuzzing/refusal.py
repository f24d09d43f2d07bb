"""What holds of everything that is refused."""

from __future__ import annotations


def check(error: Exception) -> None:
    """It is said on one line that any terminal can show."""
    text = str(error)
    assert text, repr(error)
    assert text.isprintable(), text
