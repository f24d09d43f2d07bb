"""capd(8) against the code: no word, option, default, message, file or variable may differ."""

from __future__ import annotations

import argparse
import ast
import re

from capd import cli, names, runtime
from capd.cli.common import DEFAULT_CONFIG
from capd.errors import CapdError, UsageError
from capd.events import Kind
from capd.losses import STAGES
from capd.tuning.record import DEFAULT_DIRECTORY
from tests.support.grammar import HELP, leaves, options
from tests.support.mdoc import Item, items, sections, subsections
from tests.support.roots import CHECKOUT

MAN = CHECKOUT / "packaging" / "man"
COMMANDS = sections(MAN / "capd.8")


# An option and its value, and what is left: a value that stands alone.
_OPTION = re.compile(r"Fl (\S+)(?: (Ar \S+|Cm \w+(?: \| \w+)*))?")
_ALONE = re.compile(r"Ar \S+(?: \.\.\.)?")
SEVERAL = ("*", "+", argparse.REMAINDER)


def value_of(action: argparse.Action) -> str:
    """As the pages show it: `Ar F`, `Cm pcapng | pcap`, or nothing."""
    if action.nargs == 0:
        return ""
    return f"Cm {' | '.join(action.choices)}" if action.choices else f"Ar {action.metavar}"


def known_options(path: str) -> dict[str, str]:
    """Of a word, each with its value."""
    actions = options(leaves()[path])
    return {option: value_of(one) for option, one in actions.items() if option not in HELP}


def shown_options(text: str) -> dict[str, str]:
    """In a piece of a page, each with its value."""
    return {f"-{name}": value for name, value in _OPTION.findall(text)}


def synopses() -> dict[str, str]:
    """What stands in the synopsis by word, those of one word after each other."""
    found: dict[str, str] = {}
    for part in "\n".join(COMMANDS["SYNOPSIS"]).split(".Nm\n")[1:]:
        word = re.match(r"\.Cm (.*)\n", part)
        path = word[1] if word else ""
        found[path] = found.get(path, "") + part
    return found


def test_synopsis() -> None:
    found = synopses()
    assert shown_options(found.pop("")) == {"--help": "", "--version": ""}
    assert list(found) == list(leaves())
    for path, text in found.items():
        assert shown_options(text) == known_options(path), path
        alone = [
            f"Ar {one.metavar}{' ...' if one.nargs in SEVERAL else ''}" for one in positionals(path)
        ]
        assert _ALONE.findall(_OPTION.sub("", text)) == alone, path


def positionals(path: str) -> list[argparse.Action]:
    return [one for one in leaves()[path]._actions if not one.option_strings]


def test_commands() -> None:
    found = subsections(COMMANDS["COMMANDS"])
    assert [f"capd {path}" for path in leaves()] == list(found)[1:]
    for path in leaves():
        shown: dict[str, str] = {}
        for item in items(found[f"capd {path}"]):
            shown |= shown_options(item.head)
            for option in shown_options(item.head):
                described(options(leaves()[path])[option], item)
        assert shown == known_options(path), path
        for one in positionals(path):
            assert f"Ar {one.metavar}" in "\n".join(found[f"capd {path}"]), path


def described(action: argparse.Action, item: Item) -> None:
    """Its default, and whether it may be given twice."""
    if isinstance(action.default, str):
        assert re.search("[Dd]efault", item.text), item
        assert re.search(
            rf"^\.Cm {re.escape(action.default)}( \S)?$", "\n".join(item.lines), re.M
        ), item
    assert ("more than once" in item.text) == (isinstance(action, argparse._AppendAction)), item


def test_default_config() -> None:
    assert f".Pa {DEFAULT_CONFIG} ." in COMMANDS["COMMANDS"]


def test_stages() -> None:
    shown = [item.head for item in items(subsections(COMMANDS["COMMANDS"])["capd losses"])]
    assert [head[3:] for head in shown if head.startswith("Cm ")] == list(STAGES)


def test_messages() -> None:
    """Each stands among those of its level, under its name in the catalog."""
    text = (CHECKOUT / "systemd" / "capd.catalog").read_text()
    names_of = dict(re.findall(r"(?m)^-- (\S+)\nSubject: (.*)$", text))
    levels = {"error": "Errors", "warning": "Warnings", "info": "Information"}
    for level, title in levels.items():
        found = {
            item.head.removeprefix("Li "): item.lines
            for item in items(subsections(COMMANDS["DIAGNOSTICS"])[title])
        }
        assert list(found) == [kind.message_id for kind in Kind if kind.level == level]
        for number, lines in found.items():
            shown = re.sub(r"\n?\.Ar \S+\n?", " @ ", "\n".join(lines)).split()
            assert shown == re.sub(r"@\w+@", "@", names_of[number]).split()


def test_environment() -> None:
    """Every variable that capd itself reads."""
    read = set()
    for path in (CHECKOUT / "capd").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.Call | ast.Compare | ast.GeneratorExp):
                text = ast.unparse(node)
                if "environ" in text:
                    read |= set(re.findall(r"'([A-Z][A-Z_]+)'", text))
    lines = "\n".join(COMMANDS["ENVIRONMENT"])
    assert runtime.DEFAULT in lines
    assert DEFAULT_DIRECTORY in lines
    shown = set(re.findall(r"[A-Z]+_[A-Z]+", lines))
    assert shown == read


def test_files() -> None:
    """The runtime directory's, the units, the states that a segment's name can be in."""
    shown = re.findall(r"[^\s,]+", " ".join(item.head[3:] for item in items(COMMANDS["FILES"])))
    directory = runtime.RuntimeDirectory()
    run = (directory.control, directory.status, directory.last_good, "lock", "events/", "results/")
    assert {f"{runtime.DEFAULT}/{one.rpartition('/')[2] or one}" for one in run[:4]} <= set(shown)
    assert {f"{runtime.DEFAULT}/{one}" for one in run[4:]} <= set(shown)
    units = {
        path.name for path in (CHECKOUT / "systemd").glob("capd*.[sp]*") if ".sys" not in path.name
    }
    assert units == {one.rpartition("/")[2] for one in shown if one.endswith((".service", ".path"))}
    suffixes = [
        *(names.PART_SUFFIX, names.DAMAGED_SUFFIX, names.SEGMENT_SUFFIX),
        *(names.SUSPECT_SUFFIX, names.COMPRESSED_SUFFIX, names.INDEX_SUFFIX),
    ]
    found = [one for one in shown if one.startswith("RING/")]
    assert sorted(re.sub(r"^.*?(?=\.)", "", one) for one in found) == sorted(suffixes)
    folders = (names.LEDGER_FOLDER, names.HOLD_FOLDER, DEFAULT_DIRECTORY)
    assert {f"{one}/" for one in folders} | {names.HANDED_FILE} <= set(shown)
    installed = (CHECKOUT / "packaging" / "install").read_text()
    for one in shown:
        if one.startswith("/usr/share/"):
            assert one in installed


def test_signals() -> None:
    """Those that the daemon has a handler for."""
    source = (CHECKOUT / "capd" / "daemon" / "service.py").read_text()
    handled = set(re.findall(r"add_signal_handler\(signal\.(\w+)", source))
    assert handled == {item.head.removeprefix("Dv ") for item in items(COMMANDS["SIGNALS"])}


def test_exit_status() -> None:
    incomplete = 3  # capd.cli.common.complete
    known = {0, CapdError.exit_code, UsageError.exit_code, incomplete, cli.INTERRUPTED}
    assert {int(item.head) for item in items(COMMANDS["EXIT STATUS"])} == known
