"""Sequences of which each needs one thing of capd: without that it must fail, and at once.

The random ones get there as well, but nobody knows when.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.modelling.dying import LIFE, Death
from tests.modelling.machine import Directory

THREE = [(30, ("rotate",))] * 3


def play(name: str) -> None:
    """One of them; AssertionError if anything is not as it must be."""
    state = Directory()
    state.begin()

    def step(rule: Callable[..., None], **drawn: Any) -> None:
        rule(state, **drawn)
        state.files_are_right()
        state.everything_is_extracted()
        state.listing_is_right()

    SEQUENCES[name](step)
    state.teardown()


def _behind_a_hole(step: Callable[..., None]) -> None:
    step(Directory.capture, blocks=[(200, ())] * 3, end=(), death=LIFE)
    step(Directory.cut_power, share=50, how="hole")
    step(Directory.archive, compress=False, jobs=1, moves=0, death=LIFE)


def _held(step: Callable[..., None]) -> None:
    step(Directory.capture, blocks=THREE, end=("finish",), death=LIFE)
    step(Directory.hold, which=0, length=0, death=LIFE, expires=False)
    step(Directory.reap, key="max_files", share=0, second=False, death=LIFE)


def _newest(step: Callable[..., None]) -> None:
    step(Directory.capture, blocks=[*THREE, (30, ())], end=("finish",), death=LIFE)
    step(Directory.set_clock, how="day")
    step(Directory.reap, key="max_age", share=100, second=False, death=LIFE)


def _in_turn(step: Callable[..., None]) -> None:
    step(Directory.capture, blocks=THREE * 2, end=("finish",), death=LIFE)
    step(Directory.reap, key="max_size", share=50, second=False, death=LIFE)


def _killed_while_writing(step: Callable[..., None]) -> None:
    for change in range(1, 12):
        step(Directory.capture, blocks=[(30, ())] * 2, end=(), death=Death(change, 0))


def _killed_while_moving(step: Callable[..., None]) -> None:
    step(Directory.capture, blocks=THREE, end=("finish",), death=LIFE)
    step(Directory.archive, compress=False, jobs=9, moves=0, death=LIFE)
    for change in range(1, 16):
        step(Directory.archive, compress=False, jobs=0, moves=1, death=Death(change, 0))


SEQUENCES: dict[str, Callable[[Callable[..., None]], None]] = {
    "behind a hole": _behind_a_hole,
    "held": _held,
    "newest": _newest,
    "in turn": _in_turn,
    "killed while writing": _killed_while_writing,
    "killed while moving": _killed_while_moving,
}
