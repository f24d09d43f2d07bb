"""A command line in, capd.toml and notes out."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from capd.config_problems import MAX_FILE
from capd.convert import dumpcap, tcpdump
from capd.convert.document import document
from capd.convert.plan import Kind, Note, Plan, merged
from capd.convert.shell import Command, commands
from capd.convert.wrappers import OTHERS, PROGRAMS, Call, calls
from capd.errors import FilterError, UsageError
from capd.filter import FilterRequest, compile_filters
from capd.pcapng import SNAPLEN
from capd.units import format_size, printable, shown

_PLANS = {"tcpdump": tcpdump.plan_of, "dumpcap": dumpcap.plan_of}
_ETHERNET = 1  # LINKTYPE_ETHERNET
_HEADINGS: dict[Kind, str] = {
    "surprise": "What this line does, whether it was meant or not:",
    "otherwise": "What capd does in another way, or not at all:",
    "idle": "What makes no difference to a recording:",
}
# What is no line of a shell, and would be taken for one with patterns of file names in it.
_FILES = {
    re.compile(r"\s*(?:@[a-z]+|(?:[0-9*/,-]+[ \t]+){4}[0-9A-Za-z*/,-]+)\s"): (
        "it is a line for cron: give what stands behind the times, and behind the user if there "
        "is one; cron itself ends the command at a %, where that is not \\%"
    ),
    re.compile(r"\s*\[[A-Z][A-Za-z]+\]\s"): (
        "it is the file of a unit: give its line that begins with ExecStart="
    ),
}
_WIDTH = 98
_MOST_WORDS = 30_000  # characters


class Conversion(NamedTuple):
    """What came of a line."""

    toml: str
    notes: tuple[Note, ...]

    def lines(self) -> Iterator[str]:
        """The notes, for people."""
        for kind, heading in _HEADINGS.items():
            notes = [note for note in self.notes if note.kind == kind]
            if notes:
                yield from ("", heading)
            for text, group in groupby(notes, lambda note: note.text):
                about = ", ".join(dict.fromkeys(printable(note.about) for note in group))
                yield from textwrap.wrap(
                    f"{about}: {printable(text)}",
                    width=_WIDTH,
                    initial_indent="  ",
                    subsequent_indent="      ",
                )

    def as_json(self) -> str:
        """The same for programs: `toml`, and `notes` with `about`, `kind` and `text`."""
        notes = [note._asdict() for note in self.notes]
        return json.dumps({"toml": self.toml, "notes": notes}, indent=2)


def convert(words: Sequence[str]) -> Conversion:
    """What this line would record.  UsageError names the word that cannot be converted.

    `words`: the words as a shell hands them over, or one with the whole line in it.
    """
    try:
        plan, line = planned(words)
        _check_filters(plan)
        return written(plan, line)
    except UsageError as error:  # a word may have in it what does harm to a terminal
        raise UsageError(printable(str(error))) from error


def planned(words: Sequence[str]) -> tuple[Plan, str]:
    """What is to be recorded, its filters not checked; and the line.  UsageError."""
    if sum(map(len, words)) > _MOST_WORDS:
        raise UsageError(
            f"the line is longer than {_MOST_WORDS:,} characters: convert less at once"
        )
    _check_text(words)
    whole = len(words) == 1 and len(words[0].split()) > 1
    for pattern, reason in _FILES.items():
        if pattern.match(words[0] if whole else ""):
            raise UsageError(reason)
    found = commands(words[0]) if whole else [Command(list(words), "", [])]
    every = [call for command in found for call in calls(command)]
    captures = [call for call in every if call.program in PROGRAMS]
    if not captures:
        raise UsageError(_nothing(every))
    plan = merged([_plan(call) for call in captures])
    for call in every:
        if call.program not in PROGRAMS:
            about = f"{call.program} > {call.output}" if call.output else call.program
            plan.otherwise(about, f"left out; {OTHERS.get(call.program, 'not a capture')}")
    return plan, words[0] if whole else shlex.join(words)


def written(plan: Plan, line: str) -> Conversion:
    """A plan as a config, and what is to be said of it.  UsageError."""
    toml = document(plan, " ".join(line.split()))
    if len(toml.encode()) > MAX_FILE:
        raise UsageError(
            f"it comes to more than {format_size(MAX_FILE)}, the most of a config file"
        )
    return Conversion(toml, tuple(dict.fromkeys(plan.notes)))


def _check_text(words: Sequence[str]) -> None:
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{shown(word)} is not UTF-8, so it cannot stand in a config file"
            ) from error


def _nothing(others: list[Call]) -> str:
    if not others:
        return "there is no command in it: capd convert -- tcpdump -i eth0 ..."
    name = others[0].program
    text = OTHERS.get(name, "it is neither tcpdump nor dumpcap")
    return f"{shown(name)} cannot be converted: {text}"


def _plan(call: Call) -> Plan:
    plan = _PLANS[call.program](call.words, call.output)
    plan.notes = call.notes + plan.notes
    if call.cpus is not None:
        for recording in plan.recordings:
            recording.settings["cpus"] = call.cpus
    return plan


def _check_filters(plan: Plan) -> None:
    """UsageError for a filter that libpcap refuses, or that capd does."""
    settings = [each.settings["filter"] for each in plan.recordings if "filter" in each.settings]
    for setting in dict.fromkeys(settings):
        request = FilterRequest(str(setting.value), _ETHERNET, SNAPLEN)
        try:
            outcome = compile_filters([request])[0]
        except FilterError as error:
            plan.otherwise(setting.origin, f"not checked: {error}")
            continue
        if isinstance(outcome, FilterError):
            raise UsageError(f"{setting.origin}: {outcome}") from outcome
        if {"port", "portrange"} & set(str(setting.value).split()):
            text = "of a packet in fragments only the first has ports: the others do not match"
            plan.surprise(setting.origin, text)
