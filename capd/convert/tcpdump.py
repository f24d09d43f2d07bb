"""What a tcpdump line means: its options one by one, then its files and its filter."""

from __future__ import annotations

import os

from capd.convert import files
from capd.convert.amounts import leading, size_text, wrapped
from capd.convert.options import Given, Line, parse
from capd.convert.plan import Plan, Recording, Setting
from capd.convert.rotation import rotation
from capd.convert.tcpdump_options import TABLE
from capd.errors import UsageError
from capd.units import format_size, shown

_KIB = 1024
_SNAPLEN = 262144  # MAXIMUM_SNAPLEN of tcpdump
_DIRECTIONS = {"in": "in", "out": "out", "inout": ""}
_COMPRESSORS = ("gzip", "bzip2", "xz", "zstd", "compress", "pigz", "lz4", "lzma", "lzop")


def plan_of(words: list[str], output: str) -> Plan:
    """What a call with these words records.  UsageError.

    `output`: the file that its standard output goes to, "" for none.
    """
    plan = Plan()
    line = parse("tcpdump", TABLE, words)
    settings: dict[str, Setting] = {}
    last = _last(plan, line)
    for given in last.values():
        _option(plan, settings, given)
    _file(plan, last.get("-w"), output)
    rotation(plan, settings, last)
    _filter(plan, settings, last.get("-F"), line.operands)
    plan.recordings = _recordings(plan, settings, last.get("-i"))
    plan.in_order(line.given)
    return plan


def _last(plan: Plan, line: Line) -> dict[str, Given]:
    """Options by name; of one that is there several times the last one counts, as for tcpdump."""
    last: dict[str, Given] = {}
    for given in line.given:
        before = last.get(given.name)
        if before is not None and before.value != given.value:
            plan.surprise(before.spelled, f"only the last {given.name} counts: {given.spelled}")
        last[given.name] = given
    return last


def _option(plan: Plan, settings: dict[str, Setting], given: Given) -> None:
    """All but -w, -C, -G, -W, -F and -i, which mean something together only."""
    plan.row(given)
    match given.name:
        case "-B":
            _buffer(plan, settings, given)
        case "-c":
            count = _number(plan, given)
            if count < 1:
                raise UsageError(f"tcpdump: {given.spelled} is not a number of packets above 0")
            plan.otherwise(given.spelled, "it ends after as many packets; capd records on and on")
        case "-p":
            settings["promiscuous"] = Setting(value=False, origin=given.spelled)
        case "-Q":
            _direction(plan, settings, given)
        case "-s":
            files.snaplen(plan, settings, _snaplen(given), given.spelled)
        case "-j":
            files.stamps(plan, given.spelled, given.value)
        case "-z":
            _postrotate(plan, given)


def _number(plan: Plan, given: Given) -> int:
    """A value that goes through atoi(3)."""
    number = leading(given.value)
    if number.rest and number.value > 0:
        text = f"{shown(number.rest)} behind the number is ignored: it is {number.value}"
        plan.surprise(given.spelled, text)
    return number.value


def _buffer(plan: Plan, settings: dict[str, Setting], given: Given) -> None:
    count = _number(plan, given)
    size = count * _KIB
    if size <= 0:
        raise UsageError(f"tcpdump: {given.spelled} is not a size above 0, in KiB")
    text = f"-B counts in KiB: this is {format_size(size)} for each interface"
    kept = wrapped(size)
    if kept == size:
        plan.surprise(given.spelled, text)
        files.ring_size(plan, settings, size, given.spelled)
        return
    outcome = (
        f"and becomes {format_size(kept)} without a word"
        if kept > 0
        else f'and tcpdump does not start: "invalid packet buffer size {count}"'
    )
    plan.surprise(
        given.spelled,
        f"{text}, which is more than an int holds, {outcome}; the ring is left to capd, by the "
        f'link\'s speed; if you mean it: ring_size = "{size_text(size)}"',
    )


def _direction(plan: Plan, settings: dict[str, Setting], given: Given) -> None:
    direction = _DIRECTIONS.get(given.value.lower())
    if direction is None:
        raise UsageError(f"tcpdump: {given.spelled} is none of in, out, inout")
    if direction:
        settings["direction"] = Setting(direction, given.spelled)
    else:
        plan.idle(given.spelled, "both directions, as by default")


def _snaplen(given: Given) -> int:
    """By strtol(3) with base 0: 0x60 is 96, and so is 0140."""
    text = given.value
    try:
        length = int(text, 8 if text.startswith("0") and text.isdecimal() else 0)
    except ValueError:
        length = -1
    if not 0 <= length <= _SNAPLEN:
        raise UsageError(f"tcpdump: {given.spelled} is not a number of bytes from 0 to {_SNAPLEN}")
    return length


def _postrotate(plan: Plan, given: Given) -> None:
    name = os.path.basename(given.value)
    text = (
        "one process for each file, however many are at work already; its failure is told to "
        "nobody, the last file is never given to it, and if it compresses, every packet is "
        "written, read and written once more"
    )
    if not given.value.startswith("/") and "/" in given.value:
        text += f"; {shown(given.value)} is looked for where the line was typed"
    plan.surprise(given.spelled, text)
    if " " in given.value:
        text = "-z is the name of one program and takes no arguments for it: there is none called"
        plan.surprise(given.spelled, f"{text} {shown(given.value)}, and nothing is run")
    if any(word in name for word in _COMPRESSORS):
        plan.compression["enabled"] = Setting(value=True, origin=given.spelled)
        text = "capd compresses by itself (zstd), checks the result and deletes the original; what"
    else:
        text = "what"
    plan.otherwise(
        given.spelled, f"{text} else is to be done with finished files: {files.FINISHED}"
    )


def _file(plan: Plan, given: Given | None, output: str) -> None:
    if given is None:
        text = "without -w packets are printed and not kept; capd keeps them"
        plan.surprise("tcpdump", f"{text}; to read them: capd extract --follow | tcpdump -r -")
        return
    path = files.target(plan, given, output)
    files.directory(plan, given.spelled, path, timed=path is given.value)


def _filter(
    plan: Plan, settings: dict[str, Setting], given: Given | None, words: list[str]
) -> None:
    text = " ".join(words)
    if given is not None:
        if text:
            plan.surprise(text, f"the expression is ignored beside -F, which is {given.spelled}")
        text = _filter_file(given)
    if text.strip():
        settings["filter"] = Setting(text, given.spelled if given else "the expression")


def _filter_file(given: Given) -> str:
    """The expression in a file; `#` begins a comment there."""
    if not given.value or given.value == "-":
        raise UsageError(f"tcpdump: {given.spelled}: give the expression itself")
    try:
        with open(given.value, "rb") as file:
            content = file.read(files.MAX_FILTER_FILE)
    except (OSError, ValueError) as error:
        raise UsageError(f"{given.spelled}: the filter cannot be read: {error}") from error
    lines = content.decode(errors="backslashreplace").split("\n")
    return " ".join(" ".join(line.partition("#")[0] for line in lines).split())


def _recordings(plan: Plan, settings: dict[str, Setting], given: Given | None) -> list[Recording]:
    if given is None:
        text = "without -i it is the first interface that is up; capd takes that of the default"
        plan.surprise("tcpdump", f"{text} route: better name it")
        return [Recording(Setting("@default", "no -i"), settings)]
    names = files.interface_names(plan, given.spelled, given.value, "tcpdump -D")
    if given.value == "any":
        settings["promiscuous"] = Setting(value=False, origin=f"{given.spelled}, which never is")
    return [Recording(Setting(name, given.spelled), dict(settings)) for name in names]
