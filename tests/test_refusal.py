"""How long a disk may take nothing before packets are given up for it."""

from __future__ import annotations

import time

from capd.capture.refusal import RETRY, TRIES, WORTH_TELLING, Refusal
from capd.events import Kind
from capd.units import SECOND


def test_a_worker_that_was_stopped_tries_again_first() -> None:
    """The time in which it did not run says nothing of the disk."""
    said: list[tuple[Kind, str]] = []

    def tell(kind: Kind, text: str, **facts: int) -> None:
        said.append((kind, f"{text} {facts}"))

    refusal = Refusal(tell)
    assert not refusal.refused("no file", 0, full=False)
    time.sleep(WORTH_TELLING / SECOND + 0.05)  # what a SIGSTOP comes to
    answers = [refusal.refused("no file", 0, full=False) for _ in range(4)]
    assert answers == [False, False, False, True], "the fifth in all"
    assert [kind for kind, _ in said] == [Kind.DISK_REFUSES]


def test_that_there_is_no_room_is_true_of_the_newest_refusal_alone() -> None:
    """The reaper makes room for it: not for a moment's refusal, and not for another reason."""

    def tell(kind: Kind, text: str, **facts: int) -> None:
        pass

    refusal = Refusal(tell)
    for _ in range(TRIES):
        refusal.refused("no room", 0, full=True)
    assert not refusal.full
    time.sleep(WORTH_TELLING / SECOND + 0.05)
    for full in (False, True, True, False, True):
        refusal.refused("no room, or an error", 0, full=full)
        assert refusal.full == full
    refusal.accepted()
    assert not refusal.full


def test_a_disk_that_refuses_all_the_time_is_told_as_soon_as_before() -> None:
    """So many tries take less than what is worth telling."""
    assert TRIES * RETRY < WORTH_TELLING
