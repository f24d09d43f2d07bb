"""Any bytes as a config file.

What must hold: a Config, or a ConfigError whose problems each name the place and say in capd's own
words, on one line, what to do.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from capd.config import Config, load
from capd.config_problems import _tables
from capd.errors import ConfigError

_ROOT = Path(__file__).resolve().parent.parent.parent
_HEADER, _KEY = re.compile(r"#?\["), re.compile(r"#?[a-z_.]+ = ")
_FOREIGN = re.compile(r"Input should be|Value error|validation error|object at 0x|Traceback")


def _keys(schema: type[BaseModel]) -> Iterator[str]:
    for place, keys in _tables(schema):
        yield f"[{'.'.join(place)}]\n"
        for key in keys:
            yield from (f"{key} = ", f"{key} = [5]\n")


_VALUES = ("true", "5", "-1", "1.5", '""', "[]", "[5]", '["a"]', "{}", '"1h"', '"90%"', '"1GiB"')
_TABLE = '[[interface]]\nname = "@default"\n'
WORDS = (*_keys(Config), *_VALUES, _TABLE, "[[interface]]\n", '"\\u001b" = ')


def seeds() -> Iterator[bytes]:
    """An interface, and each table of the file that is shipped with all that it may have."""
    tables = [""]
    for line in (_ROOT / "etc" / "capd.toml").read_text().splitlines():
        if _HEADER.match(line):
            tables.append("")
        if _HEADER.match(line) or _KEY.match(line):
            tables[-1] += line.lstrip("#").partition("  #")[0].strip() + "\n"
    yield from (f"{table}{_TABLE}".encode() for table in tables)


def check(data: bytes) -> None:
    """Load it, and read what is said of each interface."""
    with open(os.memfd_create("capd.toml"), "w+b", buffering=0) as file:
        file.write(data)
        path = f"/proc/self/fd/{file.fileno()}"
        try:
            config = load(path)
        except ConfigError as error:
            _judge(error, path)
            return
    assert config.directories
    for interface in config.interface:
        config.settings(interface)
        config.tuned(interface)


def _judge(error: ConfigError, path: str) -> None:
    assert error.problems
    for problem in error.problems:
        assert problem.startswith(f"{path}: "), problem
        assert problem.isprintable(), problem
        assert len(problem.removeprefix(f"{path}: ").split()) >= 3, problem
        assert not _FOREIGN.search(problem), problem
