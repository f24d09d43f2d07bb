"""Programs for the [alert] command: they note what they get, fail, hang, or talk too much."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from capd.spool import Event

NOON = 1_763_985_600 * 10**9
ALERT = Event("alert", NOON, "v0: lost 5 packets", {"interface": "v0", "packets": "5"})

_PROGRAM = """#!{python}
import json, os, sys, time
told = [name for name in os.environ if name.startswith("CAPD_")]
note = {{"facts": {{name: os.environ[name] for name in told}}, "text": sys.stdin.read()}}
note["arguments"] = sys.argv[1:]
with open({notes!r}, "a") as file:
    file.write(json.dumps(note) + "\\n")
{code}
"""


class Program:
    """An executable of the test's own."""

    def __init__(self, folder: Path, code: str = "") -> None:
        """`code` follows once it has noted what it got."""
        self._notes = folder / "notes"
        self.path = folder / "program"
        self.path.write_text(
            _PROGRAM.format(python=sys.executable, notes=str(self._notes), code=code)
        )
        self.path.chmod(0o755)

    @property
    def runs(self) -> list[dict[str, Any]]:
        """What it got, each time that it was run."""
        if not self._notes.exists():
            return []
        return [json.loads(line) for line in self._notes.read_text().splitlines()]


def config(folder: Path, command: str, more: str = "") -> str:
    """A config file with this command."""
    path = folder / "capd.toml"
    path.write_text(f'[alert]\ncommand = {command}\n{more}\n[[interface]]\nname = "v0"\n')
    return str(path)


def quoted(*words: object) -> str:
    """A list of TOML."""
    return str([str(word) for word in words])
