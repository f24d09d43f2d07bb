"""A manual page's source, mdoc(7): its sections, the items of its lists, its displays."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

_MACROS = (
    *("Ar", "Cm", "Dv", "Ev", "Fl", "It", "Li", "Nm", "No", "Ns", "Op", "Pa", "Pq", "Ql", "Qq"),
    *("Sx", "Sy", "Ta", "Xr"),
)
_MACRO = re.compile(rf"(?<!\S)(?:{'|'.join(_MACROS)})(?!\S) ?")


class Item(NamedTuple):
    """Of a list: what stands after `.It`, and the lines of its text."""

    head: str
    lines: list[str]

    @property
    def text(self) -> str:
        """As it is read."""
        return plain(self.lines)


def sections(path: Path) -> dict[str, list[str]]:
    """The lines of each section, by its title."""
    return _divided(path.read_text().splitlines(), ".Sh ")


def subsections(lines: list[str]) -> dict[str, list[str]]:
    """The same of a section; "" has what comes before the first."""
    return _divided(lines, ".Ss ")


def _divided(lines: list[str], macro: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {"": []}
    title = ""
    for line in lines:
        if line.startswith(macro):
            title = line.removeprefix(macro).removesuffix("\\&")
            assert title not in found, f"{title} stands there twice"
            found[title] = []
        else:
            found[title].append(line)
    return found


def items(lines: list[str]) -> list[Item]:
    """Of all lists there, those inside of others too; some that share a text each have it."""
    found: list[Item] = []
    for line in lines:
        if line.startswith(".It "):
            found.append(Item(line.removeprefix(".It "), []))
        elif found and not line.startswith((".Bl", ".El")):
            found[-1].lines.append(line)
    for one, following in reversed(list(pairwise(found))):
        if not one.lines:
            one.lines.extend(following.lines)
    return found


def displays(lines: list[str]) -> list[str]:
    """What stands there as it is to be typed."""
    text = "\n".join(lines)
    found = re.findall(r"(?ms)^\.Bd -literal.*?\n(.*?)^\.Ed$", text)
    return [one.replace("\\e", "\\").replace("\\(dq", '"') for one in found]


def plain(lines: list[str]) -> str:
    """Text without its macros; it is for searching, not for reading."""
    words = [_MACRO.sub("", line[1:]) if line.startswith(".") else line for line in lines]
    return " ".join(" ".join(words).split())
