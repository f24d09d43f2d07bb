"""What tcpdump's -C, -G and -W come to beside each other, and beside the name of -w."""

from __future__ import annotations

import re

from capd.config import Capture
from capd.convert import files
from capd.convert.amounts import duration_text, leading, size_said, size_text
from capd.convert.options import Given
from capd.convert.plan import Plan, Setting
from capd.errors import UsageError
from capd.units import MAX, SECOND, SIZES, format_count, format_duration, format_size, shown

# tcpdump 5 knows units; before, the number stands alone and counts millions of bytes.
_SIZE = re.compile(r"\s*\+?([0-9]{1,19})([kKmMgG]?)")
_UNITS = {"": 10**6, "k": SIZES["KiB"], "m": SIZES["MiB"], "g": SIZES["GiB"]}
_MOST_SECONDS = 2**31 - 1


def rotation(plan: Plan, settings: dict[str, Setting], last: dict[str, Given]) -> None:
    """When files begin and how many are kept.  UsageError for what tcpdump refuses."""
    size, seconds, count = last.get("-C"), last.get("-G"), last.get("-W")
    name = last.get("-w")
    length = 0 if size is None else _size(plan, settings, size)
    period = 0 if seconds is None else _period(plan, settings, seconds)
    piles_up = not period or (name is not None and _is_ever_new(name.value))
    if count is not None:
        _count(plan, count, (size, length), (seconds, period), piles_up=piles_up)
    if name is not None and name.value != "-":
        _names(plan, name, period)
    _differences(plan, last, period, piles_up=piles_up)


def _size(plan: Plan, settings: dict[str, Setting], given: Given) -> int:
    match = _SIZE.fullmatch(given.value)
    number = int(match[1]) if match else 0
    unit = match[2].lower() if match else ""
    size = number * _UNITS[unit]
    if not 0 < size <= MAX:
        raise UsageError(f"tcpdump: {given.spelled} is not a file size, in millions of bytes")
    if unit:
        text = f"tcpdump before 5.0 takes no unit and does not start; here {size_said(size)}"
    else:
        text = f"-C counts millions of bytes, not MiB: {size_said(size)} and one packet more"
    plan.surprise(given.spelled, text)
    files.rotate_size(plan, settings, size, given.spelled)
    return size


def _period(plan: Plan, settings: dict[str, Setting], given: Given) -> int:
    number = leading(given.value)
    if number.value < 0 or number.value > _MOST_SECONDS:
        raise UsageError(f"tcpdump: {given.spelled} is not a number of seconds")
    if number.value == 0:
        plan.surprise(given.spelled, "read as 0 seconds, which means: no rotation by time")
        return 0
    shown_period = format_duration(number.value * SECOND)
    if number.rest:
        text = f"{shown(number.rest)} is ignored: a new file every {shown_period}"
        plan.surprise(given.spelled, text)
    plan.surprise(
        given.spelled,
        f"{shown_period} from whenever it was started, and only once a packet comes: on a quiet "
        "link files end late; capd's end at multiples of it in UTC",
    )
    files.every(plan, settings, number.value, given.spelled)
    return number.value


def _is_ever_new(name: str) -> bool:
    """Whether a file's name has a time in it that never comes again."""
    return files.finest(name) is not None and files.again(name) is None


def _count(
    plan: Plan,
    given: Given,
    size: tuple[Given | None, int],
    period: tuple[Given | None, int],
    *,
    piles_up: bool,
) -> None:
    number = leading(given.value)
    if number.value <= 0:
        raise UsageError(f"tcpdump: {given.spelled} is not a number of files above 0")
    if number.rest:
        text = f"{shown(number.rest)} behind the number is ignored: it is {number.value}"
        plan.surprise(given.spelled, text)
    (limit, length), (_, seconds) = size, period
    most = number.value * length
    if limit is not None and seconds:
        text = "beside both -C and -G it limits nothing: it starts again in each period"
        if piles_up:
            text += ", and files pile up until the disk is full; capd keeps what fits (max_usage)"
        meant = f'if a limit was meant: max_size = "{size_text(min(most, MAX))}"'
        plan.surprise(given.spelled, f"{text}; {meant}")
    elif limit is not None:
        text = f"{format_count(number.value)} files of {size_said(length)}:"
        plan.surprise(
            given.spelled,
            f"{text} {size_said(most)} on the disk before the first is overwritten, and a "
            "restart begins at the first again; capd keeps as much, while the disk has room for it",
        )
        files.keep_size(plan, min(most, MAX), f"{limit.spelled} {given.spelled}")
    elif seconds:
        whole = format_duration(number.value * seconds * SECOND)
        text = f"with -G it is no ring: tcpdump ends after {format_count(number.value)} files"
        plan.surprise(
            given.spelled,
            f"{text}, {whole}; capd records on and on; to keep that long: max_age = "
            f'"{duration_text(min(number.value * seconds, MAX // SECOND))}"',
        )
    else:
        plan.surprise(given.spelled, "without -C or -G it does nothing")


def _names(plan: Plan, name: Given, period: int) -> None:
    """What is lost to files of the same name, and to names in local time."""
    if "%" in name.value and not period:
        plan.surprise(name.spelled, "without -G the % stays in the name as it is")
    if not period:
        plan.surprise(name.spelled, "started again, tcpdump overwrites what is there")
        return
    finest, again = files.finest(name.value), files.again(name.value)
    if finest is None:
        text = "no time in the name: what a period writes overwrites the one before"
        plan.surprise(name.spelled, text)
        return
    if again is not None and again <= period:
        text = f"the name is the same again after {format_duration(again * SECOND)}"
        plan.surprise(name.spelled, f"{text}: what a period writes overwrites the one before")
        return
    if "%s" not in name.value:  # which counts since 1970, in no zone
        plan.surprise(
            name.spelled,
            "the time in the name is local: when summer time ends, an hour's names come again and "
            "overwrite the first ones; capd's are in UTC",
        )
    if finest > period:
        every, longer = (format_duration(each * SECOND) for each in (period, finest))
        text = f"a file every {every}, but another name only every {longer}: within that, each file"
        plan.surprise(name.spelled, f"{text} overwrites the one before")
    if again is not None:
        text = f"the names come again after {format_duration(again * SECOND)} and overwrite the"
        plan.surprise(name.spelled, f"{text} first ones; capd keeps as long (max_age)")
        files.keep_age(plan, again, name.spelled)


def _differences(plan: Plan, last: dict[str, Given], period: int, *, piles_up: bool) -> None:
    """What capd does besides."""
    defaults = Capture()
    if "-z" in last and "-C" not in last and not period:
        plan.surprise(last["-z"].spelled, "without -C or -G it runs nothing")
    if "-C" in last and not period:
        text = f"capd begins a file every {format_duration(defaults.rotate_interval)} too"
        plan.otherwise(last["-C"].spelled, f"{text} (rotate_interval)")
    if period and "-C" not in last:
        text = f"capd begins a file at {format_size(defaults.rotate_size)} too (rotate_size)"
        plan.otherwise(last["-G"].spelled, text)
    if ("-C" in last or period) and "-W" not in last and piles_up:
        text = "without -W files pile up until the disk is full; capd keeps what fits (max_usage)"
        plan.surprise("tcpdump", text)
    if ("-C" in last or period) and "-Z" not in last:
        plan.surprise(
            "tcpdump",
            "without -Z it becomes the user tcpdump once it has opened the interface: in a "
            "directory of root's it cannot make its files, the second one at the latest",
        )
