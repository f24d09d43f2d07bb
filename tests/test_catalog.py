"""The catalog, which `journalctl -x` explains messages with: whole, compiled, and true."""

from __future__ import annotations

import ast
import logging
import re
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from capd.daemon.alerts import Alarm
from capd.daemon.herald import facts_of
from capd.events import Kind
from capd.journal import tell_loss
from capd.losses import Loss
from tests.support.need import need

ROOT = Path(__file__).resolve().parent.parent
CATALOG = ROOT / "systemd" / "capd.catalog"
WIDTH = 90  # columns: the terminal's, less what journalctl puts before each line
KINDS = [pytest.param(kind, id=kind.name) for kind in Kind]


class Entry(NamedTuple):
    """What the catalog says of one kind of message."""

    head: dict[str, str]
    text: str

    @property
    def fields(self) -> set[str]:
        """The fields of the message that stand in it."""
        return set(re.findall(r"@([^@\s]+)@", self.head["Subject"] + self.text))


@cache
def entries() -> dict[str, Entry]:
    """By MESSAGE_ID."""
    found = {}
    for part in re.split(r"(?m)^-- (?=\S+$)", CATALOG.read_text())[1:]:
        number, _, rest = part.partition("\n")
        head, _, text = rest.partition("\n\n")
        assert number not in found, f"{number} stands there twice"
        found[number] = Entry(dict(line.split(": ", 1) for line in head.splitlines()), text)
    return found


@cache
def told() -> dict[str, list[set[str]]]:
    """By kind: the fields of each place in the sources where one is told."""
    found: dict[str, list[set[str]]] = {}
    for path in sorted((ROOT / "capd").glob("*/*.py")):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call) and node.args and _speaks(node.func):
                words = {name.upper() for word in node.keywords for name in _names(word)}
                if path.parent.name == "capture":  # the daemon adds whose worker it is
                    words.add("INTERFACE")
                for kind in _kind(node.args[0]):
                    found.setdefault(kind, []).append({f"CAPD_{word}" for word in words})
    return found


def _names(word: ast.keyword) -> list[str]:
    """The names of a keyword argument, or of several in `**{"from": ...}`."""
    if word.arg is not None:
        return [word.arg]
    keys = word.value.keys if isinstance(word.value, ast.Dict) else []
    return [str(key.value) for key in keys if isinstance(key, ast.Constant)]


def _speaks(call: ast.expr) -> bool:
    name = call.attr if isinstance(call, ast.Attribute) else getattr(call, "id", "")
    return name in {"tell", "_tell", "record", "Trouble"}


def _kind(argument: ast.expr) -> Iterator[str]:
    match argument:
        case ast.Attribute(value=ast.Name(id="Kind"), attr=name):
            yield name
        case ast.IfExp(body=one, orelse=other):
            yield from _kind(one)
            yield from _kind(other)


def certain(kind: Kind, caplog: pytest.LogCaptureFixture) -> set[str]:
    """The fields that every message of a kind carries."""
    if kind in (Kind.LOSS, Kind.GAP):
        stage = "link" if kind is Kind.GAP else "ring"
        with caplog.at_level(logging.INFO):
            tell_loss(Loss("v0", stage, 0, None, None, "why"))
        (record,) = caplog.records
        assert vars(record)["MESSAGE_ID"] == kind.message_id
        return {name for name in vars(record) if name.startswith("CAPD_")}
    if kind in (Kind.ALERT, Kind.ALL_CLEAR):
        facts = facts_of(Alarm(Loss("v0", "ring", 0, 0, 1, ""), over=kind is Kind.ALL_CLEAR))
        return {f"CAPD_{name.upper()}" for name in ("interface", *facts)}
    if kind is Kind.UNSAID:  # test_journal sees it come
        return {"CAPD_MESSAGES"}
    places = told().get(kind.name)
    if not places:
        pytest.skip(f"nobody tells {kind.name}")
    return set.intersection(*places)


def test_every_kind_has_an_entry_and_every_entry_a_kind() -> None:
    """And no two kinds have one id."""
    numbers = [kind.message_id for kind in Kind]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch("[0-9a-f]{32}", number) for number in numbers)
    assert sorted(entries()) == sorted(numbers)


def test_a_kind_of_another_version() -> None:
    """The journal explains what it comes of, and not a doubt of the config."""
    assert Kind.of("LOSS") is Kind.LOSS
    assert Kind.of("NO_SUCH_KIND") is Kind.VERSIONS


@pytest.mark.parametrize("kind", KINDS)
def test_entry_is_whole(kind: Kind) -> None:
    """A subject, a source, and text that fits on a terminal."""
    entry = entries()[kind.message_id]
    assert list(entry.head) == ["Subject", "Defined-By", "Documentation"]
    assert entry.head["Defined-By"] == "capd"
    assert entry.text.strip()
    assert all(len(line) <= WIDTH for line in entry.text.splitlines())


@pytest.mark.parametrize("kind", KINDS)
def test_entry_names_only_fields_that_are_there(
    kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    """One that is missing from a message would stand there as its bare name."""
    fields = entries()[kind.message_id].fields
    assert fields <= certain(kind, caplog)


def test_catalog_compiles(tmp_path: Path) -> None:
    """With systemd's own compiler, which then knows every entry by its id."""
    need("journalctl")
    folder = tmp_path / "usr/lib/systemd/catalog"
    folder.mkdir(parents=True)
    shutil.copy(CATALOG, folder)
    _journalctl(tmp_path, "--update-catalog")
    listed = dict(line.split(" ", 1) for line in _journalctl(tmp_path, "--list-catalog"))
    subjects = {number: entry.head["Subject"] for number, entry in entries().items()}
    assert listed == {number: f"capd: {subject}" for number, subject in subjects.items()}
    dumped = "\n".join(_journalctl(tmp_path, "--dump-catalog"))
    for entry in entries().values():
        assert entry.text.strip() in dumped


def _journalctl(root: Path, what: str) -> list[str]:
    """What it prints; what it complains of is a failure."""
    done = subprocess.run(
        ["journalctl", what, f"--root={root}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()
