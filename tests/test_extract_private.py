"""What an extraction makes is for the one who made it, and is never made over a segment."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.support.extracting import make, run

pytestmark = pytest.mark.security("extract")


def test_it_is_private(tmp_path: Path) -> None:
    """Whatever the umask."""
    captures, made = make(tmp_path), tmp_path / "out.pcapng"
    before = os.umask(0)
    try:
        done = run(captures, "-o", str(made))
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(made.stat().st_mode) == 0o600


def test_not_over_a_segment(tmp_path: Path) -> None:
    """By its name, through a link to it, or through one to its folder."""
    captures = make(tmp_path)
    segment = next(path for path in captures.rglob("*.pcapng") if path.is_file())
    content = segment.read_bytes()
    (tmp_path / "link").symlink_to(segment)
    (tmp_path / "folder").symlink_to(segment.parent)
    for path in (segment, tmp_path / "link", tmp_path / "folder" / segment.name):
        done = run(captures, "-o", str(path))
        assert done.returncode == 2
        assert b"is in the capture directory" in done.stderr
    assert segment.read_bytes() == content
