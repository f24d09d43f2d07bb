"""Names, reasons and what a command says, by people who mean ill: no terminal obeys them."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from capd.names import SegmentName
from capd.status import encode
from capd.status_view import page
from tests.support.laying import NOON, folder_of, lay, lay_aside
from tests.support.recorder import CAPD
from tests.support.whole import FULL

EVIL = "\x1b]0;it\x07\x1b[2J\u202e\x9b1m"
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")
TELL = """
import sys
from capd import journal
from capd.events import Kind
journal.set_up()
journal.tell(Kind.NOT_DELIVERED, sys.argv[1], event="alert")
"""


def evil(value: Any) -> Any:
    """The same with evil at the end of each text in it, but for keys."""
    if isinstance(value, str):
        return value + EVIL
    if isinstance(value, list):
        return [evil(one) for one in value]
    if isinstance(value, dict):
        return {evil(key): evil(one) for key, one in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{one.name: evil(getattr(value, one.name)) for one in fields(value)})
    return value


def said(words: Iterable[str], runtime: Path) -> str:
    """All that a command prints."""
    done = subprocess.run(
        [str(CAPD), *words],
        env=os.environ | {"RUNTIME_DIRECTORY": str(runtime)},
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in done.stderr, done.stderr
    return (done.stdout + done.stderr).decode()


@pytest.mark.security("escapes")
def test_a_status() -> None:
    """Who is the user capd may write it, and root looks at it."""
    console = Console(file=io.StringIO(), width=400)
    console.print(page(replace(evil(FULL), trouble=f"bad{EVIL}\nworse")))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert FORBIDDEN.findall(shown) == []
    assert shown.count(r"\x1b]0;it\x07") > 10
    assert "\nworse" in shown


@pytest.mark.parametrize(
    "words", [["status"], ["status", "--json"], ["losses"], ["losses", "--json"]], ids=" ".join
)
@pytest.mark.security("escapes")
def test_a_status_as_a_command_shows_it(tmp_path: Path, words: list[str]) -> None:
    (tmp_path / "status.json").write_text(encode(evil(FULL)))
    config = write(tmp_path, tmp_path / "captures")
    text = said([*words, *["--config", config] * (words[0] == "losses")], tmp_path)
    assert FORBIDDEN.findall(text) == []


@pytest.mark.parametrize(
    "words",
    [
        *(["list"], ["list", "--json"], ["verify"], ["verify", "--json"], ["losses"]),
        *(["hold"], ["hold", "--json"], ["release", EVIL], ["check"]),
        ["extract", "--since", "@0", "-o", "/dev/null"],
        ["extract", "--since", "@0", "--interface", EVIL, "-o", "/dev/null"],
        ["extract", "--since", EVIL, "-o", "/dev/null"],
        ["extract", "--since", "@0", "-o", f"/nowhere/{EVIL}"],
        ["extract", "--since", "@0", "-o", "/dev/null", "--", f"host {EVIL}"],
    ],
    ids=lambda words: " ".join(words[:5]).encode("unicode_escape").decode(),
)
@pytest.mark.security("escapes")
def test_names_in_a_directory(tmp_path: Path, words: list[str]) -> None:
    """And what else the one who may write there can leave: all of it is looked at by root."""
    captures = tmp_path / "captures"
    ring = f"v{EVIL}"
    lay(captures, SegmentName(ring, NOON, 1))
    lay(captures, SegmentName(ring, NOON, 2), NOON + 1)
    lay_aside(captures, ring, 3)
    with folder_of(captures):
        (captures / "capd-held-ranges" / f"{EVIL}.json").write_text(f'{{"id": "{EVIL}"}}')
    ledger = captures / "capd-loss-ledger"
    ledger.mkdir()
    (ledger / "losses.jsonl").write_text(f"{EVIL}\n")
    config = write(tmp_path, captures)
    options = ["--config", config]
    at = words.index("--") if "--" in words else len(words)
    text = said([*words[:at], *options, *words[at:]], tmp_path)
    assert FORBIDDEN.findall(text) == []


def write(folder: Path, directory: Path) -> str:
    """A config of this capture directory."""
    path = folder / "capd.toml"
    path.write_text(f'[storage]\ndirectory = "{directory}"\n[[interface]]\nname = "v0"\n')
    return str(path)


@pytest.mark.security("escapes")
def test_what_a_command_says_is_no_message() -> None:
    """Nor does it look like one where messages are lines: only theirs begin at the margin."""
    text = f"it said: 1{EVIL}\n2026-11-26 20:00:00,000 ERROR   v0: lost 5 packets\rx"
    done = subprocess.run(
        [sys.executable, "-c", TELL, text],
        env={"PATH": os.environ["PATH"]},
        cwd=Path(__file__).parent.parent,
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert FORBIDDEN.findall(done.stderr) == []
    first, second = done.stderr.splitlines()
    assert " it said: 1" in first
    assert second == r"    2026-11-26 20:00:00,000 ERROR   v0: lost 5 packets\rx"
