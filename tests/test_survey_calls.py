"""`_survey.survey` as Python calls it: arguments, threads, leaks."""

from __future__ import annotations

import sys
import threading
import tracemalloc
from typing import Any

import pytest

from tests.support.surveying import compiled, epb, head, segment
from tests.support.twin import exact

_survey: Any = compiled()
_CONTENT = segment([bytes(60)] * 50)


@pytest.mark.parametrize(
    ("start", "limit", "link_type"),
    [
        (-1, 0, 1),
        (0, -1, 1),
        (1, 0, 1),
        (0, len(_CONTENT) + 1, 1),
        (len(_CONTENT) + 1, len(_CONTENT) + 1, 1),
        (2**62, 2**63 - 1, 1),
        (0, 0, -2),
    ],
)
def test_refused(start: int, limit: int, link_type: int) -> None:
    """Places outside of the content, links that are none."""
    with pytest.raises(ValueError, match="outside of the content"):
        _survey.survey(_CONTENT, start, limit, link_type, True)


def test_only_bytes() -> None:
    """What holds no bytes is not walked, and a call has all of its arguments."""
    for arguments in (("text", 0, 0, -1, True), (_CONTENT, 0, 0, -1), (_CONTENT, "0", 0, -1, True)):
        with pytest.raises(TypeError):
            _survey.survey(*arguments)
    with pytest.raises(OverflowError):
        _survey.survey(_CONTENT, 2**64, 2**64, -1, True)


def test_the_content_may_change_meanwhile() -> None:
    """Another process may write to what is mapped here: nothing outside of it is read."""
    content = bytearray(segment([bytes(range(200))] * 200))
    shared = exact(content)
    stop = threading.Event()

    def spoil() -> None:
        size = 228 + 4
        while not stop.is_set():
            for at in range(len(head()) + 4, len(shared) - 4, size):
                shared[at : at + 4] = b"\xfc\xff\xff\x00"
                shared[at + 16 : at + 20] = b"\xff\xff\x03\x00"
                shared[at : at + 4] = content[at : at + 4]
                shared[at + 16 : at + 20] = content[at + 16 : at + 20]

    thread = threading.Thread(target=spoil)
    thread.start()
    try:
        for _ in range(300):
            end, *_ = _survey.survey(shared, 0, len(shared), -1, True)
            assert end <= len(shared)
    finally:
        stop.set()
        thread.join()


def test_nothing_leaks() -> None:
    """Neither memory nor references, in success and in failure."""
    calls = (
        (_CONTENT, 0, len(_CONTENT), -1, True),
        (_CONTENT, 0, len(_CONTENT), -1, False),
        (_CONTENT, 0, len(_CONTENT), 127, True),
        (_CONTENT[:-3], 0, len(_CONTENT) - 3, -1, True),
        (epb(), 0, 0, 1, True),
        (_CONTENT, 1, 0, -1, True),
        (_CONTENT, 0, 0, -1, "text", "more"),
    )
    _repeat(calls, 20)
    tracemalloc.start()
    try:
        before, references = tracemalloc.get_traced_memory()[0], sys.getrefcount(_CONTENT)
        _repeat(calls, 2000)
        assert tracemalloc.get_traced_memory()[0] - before < 10_000
        assert abs(sys.getrefcount(_CONTENT) - references) < 100
    finally:
        tracemalloc.stop()


def _repeat(calls: tuple[tuple[Any, ...], ...], times: int) -> None:
    for arguments in calls:
        for _ in range(times):
            try:
                _survey.survey(*arguments)
            except (ValueError, TypeError):
                continue
