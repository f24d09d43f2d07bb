"""What is to be recorded according to a command line, with the notes about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from capd.convert.options import Given
from capd.errors import UsageError
from capd.units import shown

Kind = Literal["surprise", "otherwise", "idle"]
Value = str | int | bool | list[int]


class Note(NamedTuple):
    """Something to know about a part of the line.

    "surprise": what the program does there, which its author may not have expected;
    "otherwise": what capd does in another way or not at all, and what to do instead;
    "idle": what has no effect on a recording.
    """

    about: str
    kind: Kind
    text: str


class Setting(NamedTuple):
    """A key's value, and the part of the line that it comes from."""

    value: Value
    origin: str


@dataclass
class Recording:
    """One interface: its name and the keys that hold for it."""

    name: Setting
    settings: dict[str, Setting] = field(default_factory=dict)


@dataclass
class Plan:
    """What one call, or several at once, would record."""

    storage: dict[str, Setting] = field(default_factory=dict)
    compression: dict[str, Setting] = field(default_factory=dict)
    recordings: list[Recording] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def surprise(self, about: str, text: str) -> None:
        """The program does something else than it looks like."""
        self.notes.append(Note(about, "surprise", text))

    def otherwise(self, about: str, text: str) -> None:
        """The two differ, or capd has nothing like it."""
        self.notes.append(Note(about, "otherwise", text))

    def idle(self, about: str, text: str) -> None:
        """It does not matter."""
        self.notes.append(Note(about, "idle", text))

    def in_order(self, line: list[Given]) -> None:
        """Notes about the whole line first, then those about its options in their order."""
        order = {given.spelled: at for at, given in reversed(list(enumerate(line)))}
        self.notes.sort(key=lambda note: order.get(note.about, -1))

    def row(self, given: Given) -> None:
        """An option whose row in the table says all there is to say.  UsageError if refused."""
        option = given.option
        if option.role == "refused":
            raise UsageError(f"{given.spelled}: {option.text}")
        if option.role == "otherwise":
            self.otherwise(given.spelled, option.text)
        elif option.role == "idle":
            self.idle(given.spelled, option.text)


# What of the place may hold for an interface alone.
_OF_ONE = ("max_size", "max_age")


def merged(plans: list[Plan]) -> Plan:
    """Several calls as one plan: what each of them keeps is its own interfaces' then."""
    whole = Plan()
    for plan in plans:
        for key, setting in plan.storage.items():
            if key in _OF_ONE and len(plans) > 1:
                for recording in plan.recordings:
                    recording.settings[key] = setting
            elif whole.storage.setdefault(key, setting).value != setting.value:
                first = whole.storage[key].origin
                text = f"capd has one {key} for all, which is that of {first}"
                whole.otherwise(setting.origin, text)
        whole.compression |= plan.compression
        whole.recordings += plan.recordings
        whole.notes += [note for note in plan.notes if note not in whole.notes]
    names = [recording.name.value for recording in whole.recordings]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(
            f"the interface {shown(twice)} is there twice: capd records each once; "
            'for what several filters let through, write "(one) or (other)"'
        )
    return whole
