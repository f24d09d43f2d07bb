"""Reading a config file, and the words for what its schema refuses in it.

Every message begins with the path of the key, `interface[0].ring_size`, and says what to
write instead.  The schema itself is in `config`.
"""

from __future__ import annotations

import difflib
import errno
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from capd.errors import ConfigError
from capd.units import format_size, shown

MAX_FILE = 2**20  # bytes
# What the machine has no more of at the moment, or its disk does: no fault of the file.
_PASSING = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE, errno.ETIMEDOUT}

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,40}")
NO_INTERFACE = 'no interface is named: add [[interface]] with name = "@default" or its own name'
# Of keys without a default.
_EXAMPLES: dict[int | str, str] = {
    "directory": 'directory = "/data/archive"',
    "name": 'name = "eth0"',
}

_WORDS: dict[str, Callable[[ErrorDetails], str]] = {
    "value_error": lambda error: str(error["ctx"]["error"]),
    "missing": lambda error: (
        f"is missing: write {_EXAMPLES[error['loc'][-1]]} below {_header(error['loc'][:-1])}"
    ),
    "bool_type": lambda error: f"{shown(error['input'])} is neither true nor false",
    "string_type": lambda error: f"{shown(error['input'])} is not text: put it in quotes",
    "int_type": lambda error: f"{shown(error['input'])} is not a whole number",
    "greater_than_equal": lambda error: (
        f"{shown(error['input'])} is less than {error['ctx']['ge']}"
    ),
    "less_than_equal": lambda error: f"{shown(error['input'])} is more than {error['ctx']['le']}",
    "less_than": lambda error: f"{shown(error['input'])} is not less than {error['ctx']['lt']}",
    "too_short": lambda _: "is empty: leave the key out for the default",
    # Not what it is: a command has passwords in it, and this goes to the journal.
    "tuple_type": lambda _: "is not a list: write it in [ ]",
    "literal_error": lambda error: f"{shown(error['input'])} is not {error['ctx']['expected']}",
}


def read(path: str) -> dict[str, Any]:
    """The TOML document in this file; ConfigError if it is not one."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_FILE + 1)
    except OSError as error:
        problem = f"{path}: cannot be read: {error.strerror}"
        raise ConfigError((problem,), passing=error.errno in _PASSING) from error
    try:
        return _parse(content)
    except ValueError as error:  # tomllib's and the decoder's own errors among them
        raise ConfigError((f"{path}: {error}",)) from error


def _parse(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_FILE:
        raise ValueError(f"is larger than {format_size(MAX_FILE)}: not a config file of capd")
    if b"\0" in content:
        raise ValueError("has NUL bytes in it: not text, or UTF-16; save it as UTF-8")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"is not UTF-8 (at line {line}); save it as UTF-8") from error
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ValueError("is not TOML that capd can read: nested too deeply") from error
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"is not TOML: {_one_line(str(error))}") from error
    except ValueError as error:  # int()'s own limit
        raise ValueError("has a number with too many digits in it") from error


def describe(error: ErrorDetails, schema: type[BaseModel]) -> str:
    """One line for one of pydantic's errors about a document of this schema."""
    return f"{_path(error['loc'])}: {_reason(error, schema)}"


def _reason(error: ErrorDetails, schema: type[BaseModel]) -> str:
    kind, location = error["type"], error["loc"]
    if kind == "extra_forbidden":
        return _unknown(location, schema)
    if kind == "missing" and location == ("interface",):
        return NO_INTERFACE
    if location == ("interface",) and kind != "value_error":
        return "write [[interface]], in two brackets, once for each interface"
    if kind in _WORDS:
        return _WORDS[kind](error)
    if kind == "model_type":
        return (
            f"{shown(error['input'])} is not a table: write {_header(location)} and its keys below"
        )
    return f"{shown(error['input'])}: {error['msg']}"


def _unknown(location: tuple[int | str, ...], schema: type[BaseModel]) -> str:
    """What to do about a key that the schema does not have."""
    key = str(location[-1])
    tables = dict(_tables(schema))
    place = tuple(str(step) for step in location[:-1] if isinstance(step, str))
    keys = tables[place]
    homes = [table for table, names in tables.items() if table and key in names]
    near = difflib.get_close_matches(key, keys, 1)
    if homes:
        other = f", or did you mean {near[0]}?" if near else ""
        return f"unknown key here; it belongs below {_header(homes[0])}{other}"
    if near:
        return f"unknown key; did you mean {near[0]}?"
    return f"unknown key; known here: {', '.join(keys)}"


def _tables(
    schema: type[BaseModel], place: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """The schema's tables by their places, each with its keys; the document itself is `()`."""
    yield place, dict(schema.model_fields)
    for name, field in schema.model_fields.items():
        for candidate in (field.annotation, *get_args(field.annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                yield from _tables(candidate, (*place, name))


def _header(location: tuple[int | str, ...]) -> str:
    steps = [step for step in location if isinstance(step, str)]
    return "[[interface]]" if steps == ["interface"] else f"[{'.'.join(steps)}]"


def _path(location: tuple[int | str, ...]) -> str:
    """`interface[0].ring_size`, odd keys quoted as TOML quotes them."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        else:
            key = step if _BARE_KEY.fullmatch(step) else shown(step)
            path += f".{key}" if path else key
    return path


def _one_line(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1] if not text.isprintable() else text
