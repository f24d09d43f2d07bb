"""Waiting for facts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_INTERVAL = 0.01


def wait_for(predicate: Callable[[], T], timeout: float, what: str) -> T:
    """The first true answer of `predicate`; AssertionError after `timeout` seconds.

    Who has to run a program for an answer asks less often, or he keeps from the processor what he
    waits for.
    """
    began = time.monotonic()
    deadline = began + timeout
    while not (answer := predicate()):
        now = time.monotonic()
        if now > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain for {what}; last: {answer!r}")
        time.sleep(max(_INTERVAL, now - began))
        began = time.monotonic()
    return answer


async def until(fact: Callable[[], bool]) -> None:
    """Until this holds; the event loop turns meanwhile."""
    async with asyncio.timeout(20):
        while not fact():
            await asyncio.sleep(_INTERVAL)
