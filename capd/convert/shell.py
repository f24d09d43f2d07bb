"""A line of a shell, taken apart into commands without being run.

Only what needs no shell to be understood: quotes, escapes, operators, redirections.  What a shell
would put something else in place of (`$x`, backquotes, `{0,1}`, `~`, `*`) is refused: what that is,
is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from capd.errors import UsageError
from capd.units import shown

_TOKEN = re.compile(
    r"""
    (?P<space> (?: [ \t\r] | \\\r?\n | (?<![^\s;&|()]) \#[^\n]* )+ )
  | (?P<redirection> &>>? | [0-9]*(?: >> | >& | >\| | <> | <<< | << | <& | < | > ) )
  | (?P<operator> && | \|\| | \|& | [;&|()\n] )
  | (?P<word> (?: '[^']*' | "(?: [^"\\] | \\.)*" | \\. | [^\s'"\\;&|<>()] )+ )
    """,
    re.VERBOSE | re.DOTALL,
)
_PART = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|\\(.)|([^'"\\]+)""", re.DOTALL)
_ESCAPED = re.compile(r'\\(?:([\\"$`])|\n)')  # all that a backslash escapes between double quotes
# Of a filter, as in ip[0]: no file has such a name, so that a shell leaves it as it stands.
_FIELD = re.compile(r"(?<=[a-z0-9])\[[^][*?]*\]")
_GLOB = re.compile(r"[*?[]")
_REPLACED = re.compile(r"(?<!\\)(?:\\\\)*([$`])")

_OUTPUT = (">", "1>", ">>", "1>>", ">|", "1>|", "&>", "&>>")


class Command(NamedTuple):
    """One command of a line: its words, and where its output goes by a redirection."""

    words: list[str]
    output: str  # of standard output; "" where it stays
    stripped: list[str]  # other redirections and a `&`, as they stand there


def commands(text: str) -> list[Command]:
    """The commands of a line or of several.  UsageError."""
    found: list[Command] = []
    here = Command([], "", [])
    tokens = _tokens(text)
    for kind, part in tokens:
        if kind == "operator":
            if part == "&" and here.words:
                here.stripped.append("&")
            found.append(here)
            here = Command([], "", [])
        elif kind == "redirection":
            target = next(tokens, ("", ""))
            if target[0] != "word":
                raise UsageError(f"{shown(text)}: nothing stands behind {part}")
            name = _plain(target[1])
            if part in _OUTPUT:
                here = here._replace(output=name)
            else:
                here.stripped.append(f"{part}{name}")
        else:
            here.words.append(_plain(part))
    return [command for command in (*found, here) if command.words]


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    """Kind and text of each, spaces left out."""
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise UsageError(
                f"{shown(text)}: a quote or a backslash at {shown(text[at:])} has no end"
            )
        at = match.end()
        if match.lastgroup != "space":
            yield str(match.lastgroup), match[0]


def _plain(word: str) -> str:
    """A word without its quotes and escapes."""
    parts = list(_PART.finditer(word))
    # What is quoted stands for itself, as a quote does here.
    expanded = _expanded("".join("'" if match[4] is None else match[4] for match in parts))
    if expanded:
        raise _unknown(word, expanded)
    return "".join(_part(*match.groups()) for match in parts)


def _expanded(bare: str) -> str:
    """What a shell would make other words of, in a word without what is quoted; "" for nothing."""
    if bare.startswith("~"):
        return "~"
    inside = bare[bare.find("{") : bare.rfind("}") + 1] if "{" in bare else ""
    if "," in inside or ".." in inside:
        return "{"
    found = _GLOB.search(bare if "/" in bare else _FIELD.sub("", bare))
    return found[0] if found else ""


def _unknown(text: str, replaced: str) -> UsageError:
    return UsageError(
        f"{shown(text)}: what the shell puts in place of {replaced} is not known here; "
        "leave the quotes around the whole line away, so that the shell does it"
    )


def _part(single: str | None, double: str | None, escaped: str | None, bare: str | None) -> str:
    if single is not None:
        return single
    if escaped is not None:
        return "" if escaped == "\n" else escaped
    text = str(bare if double is None else double)
    replaced = _REPLACED.search(text)
    if replaced is not None:
        raise _unknown(text, replaced[1])
    return text if double is None else _ESCAPED.sub(lambda match: match[1] or "", text)
