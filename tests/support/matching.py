"""The matcher and the merger under test, beside their twins."""

from __future__ import annotations

from functools import cache
from types import ModuleType

from capd.filter import FilterRequest, compile_filters
from tests.support import compiled as modules
from tests.support import match_twin
from tests.support.match_twin import ENTRY, FILTERS, Entries, Run
from tests.support.twin import exact

ROOM = 2**20


def match_module() -> ModuleType:
    """The C module that finds packets."""
    return modules.compiled("capd.query._match")


def merge_module() -> ModuleType:
    """The C module that writes them."""
    return modules.compiled("capd.query._merge")


@cache
def programs(link_type: int) -> dict[str, bytes]:
    """Those of all filters."""
    match_module()
    texts = [text for text in FILTERS if text]
    made = compile_filters([FilterRequest(text, link_type, 262144) for text in texts])
    found = {text: code for text, code in zip(texts, made, strict=True) if isinstance(code, bytes)}
    return {"": b""} | found


def packed(entries: Entries) -> bytearray:
    """As they pass through Python."""
    return bytearray(b"".join(ENTRY.pack(*entry) for entry in entries))


def matched(
    content: bytes, start: int, limit: int, text: str, within: tuple[int, int] = (0, 2**64 - 1)
) -> Entries:
    """What C and twin find, which must be the same."""
    *got, raw = match_module().match(exact(content), start, limit, 1, programs(1)[text], *within)
    *expected, entries = match_twin.match(content, start, limit, 1, text, *within)
    if got != expected or raw != packed(entries):
        raise AssertionError(f"{got} instead of {expected} for {content.hex()}, {text!r}")
    return entries


def ordered(entries: Entries, newest: int, window: int) -> Entries:
    """In the order on which C and twin agree."""
    raw = packed(entries)
    got = merge_module().order(raw, newest, window)
    *expected, sound = match_twin.order(entries, newest, window)
    if list(got) != expected or raw != packed(sound):
        raise AssertionError(f"{got} instead of {expected} for {entries}, {newest}, {window}")
    return sound


def merged(
    runs: list[Run], up_to: int, snaplen: int, *, classic: bool, most: int, room: int
) -> None:
    """C, called until nothing more comes, writes what the twin does."""
    given = [[exact(content), packed(entries), at, number] for content, entries, at, number in runs]
    out, written, left = bytearray(room), b"", most
    while True:
        size, packets, places = merge_module().merge(
            [tuple(run) for run in given], up_to, out, snaplen, classic, left
        )
        if not packets:
            break
        written += out[:size]
        left -= packets
        for run, place in zip(given, places, strict=True):
            run[2] = place
    expected = match_twin.merge(runs, up_to, snaplen, classic=classic, most=most)
    if written != expected:
        raise AssertionError(f"{written.hex()} instead of {expected.hex()} for {runs}")
