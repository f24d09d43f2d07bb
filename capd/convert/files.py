"""What both programs' files come to in capd: a directory, when a new one begins, what is kept."""

from __future__ import annotations

import posixpath
import re

from pydantic import TypeAdapter, ValidationError

from capd.config import Capture
from capd.config_values import InterfaceName, name_kind
from capd.convert.amounts import duration_text, size_said, size_text
from capd.convert.options import Given
from capd.convert.plan import Plan, Setting
from capd.errors import UsageError
from capd.ring import MAX_BLOCK, MIN_RING
from capd.units import DURATIONS, SECOND, SIZES, format_duration, format_size, shown

FOLDER = "capd"  # what capd adds to the directory of the line's files, to have one for itself
_STANDARD_OUTPUT = ("-", "/dev/stdout")
_NAME: TypeAdapter[str] = TypeAdapter(InterfaceName)
MIN_ROTATE = 2 * MAX_BLOCK
SMALL_RING = 64 * SIZES["MiB"]  # holds 50 ms at 10 Gb/s; disks are late by more
MAX_RING = 64 * SIZES["GiB"]
MAX_FILTER_FILE = 2**20  # bytes
_BY_SPEED = "left to capd, which takes a second's worth of the link's speed"
FINISHED = "[hook] segment_closed runs a program for each, at least once, with $CAPD_PATH"

_DAY = 86400  # seconds
_CONVERSION = re.compile(r"%[-_0^#]*[0-9]*[EO]?(.)", re.DOTALL)  # of strftime(3)
# The finest unit of time that is in a name, by the conversions, in seconds.
_NAMED = {
    **dict.fromkeys("SsTrcX+", 1),
    **dict.fromkeys("MR", 60),
    **dict.fromkeys("HIkl", 3600),
    **dict.fromkeys("pP", _DAY // 2),
    **dict.fromkeys("dejFDxuwaA", _DAY),
    **dict.fromkeys("UVW", 7 * _DAY),
    **dict.fromkeys("mbBh", 28 * _DAY),
    **dict.fromkeys("yYCGg", 365 * _DAY),
}
# When what a conversion gives comes again, in seconds; what is not here never does.
_AGAIN = {
    "S": 60,
    "M": 3600,
    **dict.fromkeys("Il", _DAY // 2),
    **dict.fromkeys("HkTRrXpP", _DAY),
    **dict.fromkeys("uwaA", 7 * _DAY),
    **dict.fromkeys("de", 31 * _DAY),
    **dict.fromkeys("jUVWmbBh", 366 * _DAY),
}


def target(plan: Plan, given: Given, output: str) -> str:
    """The path of -w; `output`: where a redirection takes standard output, "" for nowhere."""
    if output and given.value in _STANDARD_OUTPUT:
        return output
    if output:
        text = "what capd has to say is in the journal: journalctl -u capd"
        plan.otherwise(f"> {output}", text)
    return given.value


def directory(plan: Plan, spelled: str, path: str, *, timed: bool) -> None:
    """[storage] directory: a folder of capd's own where the line's files went.

    `timed`: the path goes through strftime(3).
    """
    if path in _STANDARD_OUTPUT:
        text = "the packets go to another program; capd extract --follow gives them to one, later"
        plan.otherwise(spelled, f"{text} too, and the files stay")
        return
    if path.startswith("/dev/"):
        plan.otherwise(spelled, "nothing is kept there; capd writes below its directory")
        return
    folder = posixpath.dirname(path)
    if timed:
        parts = folder.split("/")
        steady = next((n for n, part in enumerate(parts) if "%" in part), len(parts))
        folder = "/".join(parts[:steady])
    if not path.startswith("/"):
        text = "relative to wherever the line is typed; capd's directory is an absolute path, by"
        plan.surprise(spelled, f"{text} default /var/lib/capd")
        return
    if not path.isprintable():
        raise UsageError(f"{shown(spelled)}: a character in the path cannot be printed")
    folder = "/" + posixpath.normpath(posixpath.join("/", folder, FOLDER)).lstrip("/")
    plan.storage["directory"] = Setting(folder, spelled)
    text = "capd names its files by itself (interface, UTC time, number), in a directory that is"
    plan.otherwise(spelled, f"{text} nobody else's: what is in the old one, it never touches")


def finest(path: str) -> int | None:
    """Seconds of the finest unit of time in a file's name; None if it has none."""
    return min((_NAMED[unit] for unit in _units(path)), default=None)


def again(path: str) -> int | None:
    """Seconds until the times in a file's name come again; None if they never do."""
    units = _units(path)
    return max((_AGAIN[unit] for unit in units), default=None) if units <= _AGAIN.keys() else None


def _units(path: str) -> set[str]:
    """The units of time in a file's name."""
    return _NAMED.keys() & {match[1] for match in _CONVERSION.finditer(path)}


def every(plan: Plan, settings: dict[str, Setting], seconds: int, spelled: str) -> None:
    """A new file every so many seconds."""
    if seconds * SECOND == Capture().rotate_interval:
        plan.idle(spelled, "a new file as often as by default (rotate_interval)")
    else:
        settings["rotate_interval"] = Setting(duration_text(seconds), spelled)


def rotate_size(plan: Plan, settings: dict[str, Setting], size: int, spelled: str) -> None:
    """A new file from this size on."""
    if size < MIN_ROTATE:
        text = f"files of {size_said(size)}; capd's smallest is {format_size(MIN_ROTATE)}, which"
        plan.otherwise(spelled, f"{text} it gets; on a fast link the default, 1 GiB, is better")
    used = max(size, MIN_ROTATE)
    if used == Capture().rotate_size:
        plan.idle(spelled, "files as large as by default (rotate_size)")
    else:
        settings["rotate_size"] = Setting(size_text(used), spelled)


def keep_size(plan: Plan, size: int, spelled: str) -> None:
    """No more than this of all files."""
    plan.storage["max_size"] = Setting(size_text(size), spelled)


def keep_age(plan: Plan, seconds: int, spelled: str) -> None:
    """Nothing older than this."""
    plan.storage["max_age"] = Setting(duration_text(seconds), spelled)


def snaplen(plan: Plan, settings: dict[str, Setting], length: int, spelled: str) -> None:
    """How much of each packet; 0 and the most are all of it."""
    most = Capture().snaplen
    if length in (0, most):
        plan.idle(spelled, "all of each packet, as by default")
        return
    settings["snaplen"] = Setting(f"{length}B", spelled)
    text = f"{length} bytes of each packet, headers among them: what is behind them is in no file"
    plan.surprise(spelled, text)


def ring_size(plan: Plan, settings: dict[str, Setting], size: int, spelled: str) -> None:
    """The memory that holds packets; left out where capd's own choice is the better one."""
    text = f"{format_size(size)} for each interface, at 10 Gb/s full after {_short(size)}"
    if size > MAX_RING:
        text += f": more than the {format_size(MAX_RING)} that capd takes at most; {_BY_SPEED}"
    elif size < SMALL_RING:
        text += f"; {_BY_SPEED}"
        if size >= MIN_RING:
            text += f'; if you mean it: ring_size = "{size_text(size)}"'
    else:
        settings["ring_size"] = Setting(size_text(size), spelled)
    plan.otherwise(spelled, text)


def _short(size: int) -> str:
    """How long a ring of this size lasts at 10 Gb/s."""
    milliseconds = size * 8 * 1000 // 10**10
    return format_duration(max(milliseconds, 1) * DURATIONS["ms"])


def stamps(plan: Plan, spelled: str, kind: str) -> None:
    """A source of time stamps."""
    if kind == "host":
        plan.idle(spelled, "the kernel's stamps, as capd's are")
    else:
        plan.otherwise(spelled, "capd's stamps are the kernel's, in nanoseconds")


def interface_names(plan: Plan, spelled: str, text: str, most: str) -> list[str]:
    """The interfaces that are meant by an -i.  UsageError says why there are none.

    `most`: what the program calls its list of interfaces.
    """
    if text == "any":
        plan.surprise(
            spelled,
            "the link-layer headers are gone (cooked), no interface is promiscuous, and a packet "
            "that crosses a bond, a bridge or a veth is there twice; capd records every interface "
            "by itself, with whole frames, lo and virtual ones too: better name those you mean",
        )
        return ["*"]
    names = [name for name in text.replace(",", " ").split() if name != "or"]
    if len(names) > 1 and ("{" in text or "}" in text):
        raise UsageError(f"{spelled}: braces are for a shell; name each interface by itself")
    if len(names) > 1:
        listed = " and ".join(map(shown, names))
        plan.surprise(
            spelled, f"it takes one name, and no interface has this one; read as {listed}"
        )
    if not names:
        raise UsageError(f"{spelled}: no interface is named")
    for name in names:
        _check(spelled, name, most)
    return list(dict.fromkeys(names))


def _check(spelled: str, name: str, most: str) -> None:
    if name == "-" or name.startswith(("rpcap:", "TCP@", "/", "nflog", "nfqueue", "usbmon")):
        text = "is not a network interface: capd records interfaces of the kernel only"
        raise UsageError(f"{spelled}: {shown(name)} {text}")
    if name.isdecimal():
        raise UsageError(f"{spelled}: write the interface's name; {name} is its place in {most}")
    if name_kind(name) != "exact" or name == "any":
        raise UsageError(f"{spelled}: {shown(name)} is not the name of one interface")
    try:
        _NAME.validate_python(name)
    except ValidationError as error:
        raise UsageError(f"{spelled}: {error.errors()[0]['ctx']['error']}") from error
