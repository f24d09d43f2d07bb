"""Options as getopt_long(3) reads them: in clusters, with attached values, abbreviated, up to `--`.

Both programs take options behind operands too (glibc's getopt moves them to the front).
Also the rows of a table, and those that both programs share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from capd.errors import UsageError
from capd.units import shown

Role = Literal["meant", "idle", "otherwise", "refused"]


class Option(NamedTuple):
    """One row of a program's table.

    Of the `role`: "meant" has a meaning of its own, for which there is code.  The others have
    words only: "idle" has no effect on a recording, "otherwise" is not done by capd or not so,
    "refused" records nothing.
    """

    short: str  # one character, "" without
    long: str  # "" without
    value: bool  # whether it takes one
    role: Role = "meant"
    text: str = ""

    @property
    def name(self) -> str:
        """What it is called here."""
        return f"-{self.short}" if self.short else f"--{self.long}"


def flag(names: str, role: Role = "meant", text: str = "") -> Option:
    """A row for an option without a value; `names`: `-p --no-promiscuous-mode`, or one of them."""
    return Option(*_names(names), value=False, role=role, text=text)


def valued(names: str, role: Role = "meant", text: str = "") -> Option:
    """The same, with a value."""
    return Option(*_names(names), value=True, role=role, text=text)


def _names(names: str) -> tuple[str, str]:
    words = names.split()
    long = next((word[2:] for word in words if word.startswith("--")), "")
    return next((word[1:] for word in words if not word.startswith("--")), ""), long


LISTS = "it lists something and captures nothing"

# What both programs have: with the same words, or each with code of its own.
SHARED = (
    valued("-B --buffer-size"),
    valued("-c"),
    valued("-i --interface"),
    flag("-p --no-promiscuous-mode"),
    valued("-s --snapshot-length"),
    valued("-w"),
    flag(
        "-I --monitor-mode",
        "otherwise",
        "capd does not set monitor mode: `iw dev` makes an interface that has it, then name that",
    ),
    valued("-y --linktype", "otherwise", "capd takes the link type that the interface has"),
    flag("-d", "refused", "it shows the filter's code and captures nothing"),
    flag("-D --list-interfaces", "refused", LISTS),
    flag("-h --help", "refused", LISTS),
)


class Given(NamedTuple):
    """An option in a command line."""

    option: Option
    value: str  # "" if it takes none
    spelled: str  # as it stands there

    @property
    def name(self) -> str:
        """What it is called here, however it was spelled."""
        return self.option.name


class Line(NamedTuple):
    """A command line, taken apart."""

    given: list[Given]
    operands: list[str]


def parse(
    program: str, table: Sequence[Option], words: Sequence[str], *, permute: bool = True
) -> Line:
    """The options in these words, and the rest.  UsageError names what the program does not have.

    `permute`: options may stand behind operands; otherwise the first operand ends them.
    """
    given: list[Given] = []
    operands: list[str] = []
    waiting = list(words)
    while waiting:
        word = waiting.pop(0)
        if word == "--" or (operands and not permute):
            operands += waiting if word == "--" else [word, *waiting]
            break
        if word.startswith("--"):
            given.append(_long(program, table, word, waiting))
        elif word.startswith("-") and word != "-":
            given += _cluster(program, table, word, waiting)
        else:
            operands.append(word)
    return Line(given, operands)


def _long(program: str, table: Sequence[Option], word: str, waiting: list[str]) -> Given:
    name, equals, value = word[2:].partition("=")
    fitting = [option for option in table if option.long and option.long.startswith(name)]
    exact = [option for option in fitting if option.long == name]
    found = exact or fitting
    if not found or not name:
        raise UsageError(f"{program} has no option {shown('--' + name)}")
    if len(found) > 1:
        several = ", ".join(f"--{option.long}" for option in found)
        raise UsageError(f"{program}: {shown('--' + name)} may be {several}")
    option = found[0]
    if not option.value:
        if equals:
            raise UsageError(f"{program}: --{option.long} takes no value")
        return Given(option, "", word)
    if equals:
        return Given(option, value, word)
    value = _next(program, f"--{option.long}", waiting)
    return Given(option, value, f"{word} {value}")


def _cluster(program: str, table: Sequence[Option], word: str, waiting: list[str]) -> list[Given]:
    found = []
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        option = next((row for row in table if row.short == letter), None)
        if option is None:
            raise UsageError(f"{program} has no option {shown('-' + letter)}, in {shown(word)}")
        if option.value:
            value = letters or _next(program, option.name, waiting)
            found.append(Given(option, value, f"{option.name} {value}"))
            break
        found.append(Given(option, "", option.name))
    return found


def _next(program: str, name: str, waiting: list[str]) -> str:
    if not waiting:
        raise UsageError(f"{program}: {name} needs a value behind it")
    return waiting.pop(0)
