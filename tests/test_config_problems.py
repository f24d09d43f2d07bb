"""What is wrong with a config: all of it at once, each in words and with its path."""

from __future__ import annotations

import json
import os
import resource
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capd.config import Interface, load
from capd.daemon.preflight import examine
from capd.errors import ConfigError

ANY = '[[interface]]\nname = "@default"\n'


def written(folder: Path, text: str | bytes) -> str:
    """The path of a config file that holds this."""
    path = folder / "capd.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def problems(folder: Path, text: str | bytes) -> list[str]:
    """What is wrong with this file, each without the file's path."""
    with pytest.raises(ConfigError) as caught:
        load(written(folder, text))
    prefix = f"{folder}/capd.toml: "
    assert caught.value.exit_code == 2
    assert all(problem.startswith(prefix) for problem in caught.value.problems)
    assert all(problem.isprintable() for problem in caught.value.problems)
    return [problem.removeprefix(prefix) for problem in caught.value.problems]


def problem(folder: Path, text: str | bytes) -> str:
    """The only thing that is wrong with this file."""
    [only] = problems(folder, text)
    return only


@pytest.mark.fault(43)
def test_all_problems_at_once(tmp_path: Path) -> None:
    """Whatever is wrong elsewhere in the file."""
    text = """
        [storage]
        directory = "captures"
        sync_intervall = "5s"
        [capture]
        ring_size = 4096000
        flush_interval = "5s"
        rotate_interval = "2s"
        [[interface]]
        name = "eth0"
        snaplen = "256"
        [[interface]]
        name = "eth0"
        promiscuous = "yes"
        [[interface]]
        filter = "ip"
        [retention]
        max_age = "30d"
    """
    paths = [line.split(":")[0] for line in problems(tmp_path, text)]
    assert paths == [
        "storage.directory",
        "storage.sync_intervall",
        "capture.ring_size",
        "interface[0].snaplen",
        "interface[1].promiscuous",
        "interface[2].name",
        "retention",
        "capture.flush_interval",
        "interface[1].name",
    ]


@pytest.mark.fault(43)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[storage]\nmax_usage = 95", "storage.max_usage: 95 is not a share"),
        ("[storage]\nmax_files = 0", "storage.max_files: 0 is less than 1"),
        ("[storage]\nmax_files = true", "storage.max_files: true is not a whole number"),
        ("[storage]\nsync_interval = '1ms'", 'storage.sync_interval: "1ms" is less than 100 ms'),
        ("[storage]\nrequire_mount = 1", "storage.require_mount: 1 is neither true nor false"),
        ("[storage]\ndirectory = '/'", 'storage.directory: "/" is not an absolute path'),
        ("[storage]\ndirectory = '/a/../b'", "is not an absolute path"),
        ('[storage]\ndirectory = "/a\\u0000b"', "cannot be printed"),
        ("[storage]\nrotate_size = '1GiB'", "unknown key here; it belongs below [capture]"),
        ("[capture]\nfilter = 5", "capture.filter: 5 is not text: put it in quotes"),
        ("[capture]\nsnaplen = '0B'", 'capture.snaplen: "0B" is less than 1 B'),
        ("[capture]\nsnaplen = '1MiB'", "is more than 256 KiB, the most allowed"),
        ("[capture]\nring_size = '1MiB'", "is less than 4 MiB"),
        ("[capture]\nring_size = '1TiB'", "is more than 64 GiB"),
        ("[capture]\nrotate_size = '1MiB'", "is less than 8 MiB"),
        ("[capture]\nrotate_interval = '0.9s'", "is less than 1 s"),
        ("[capture]\nflush_interval = '1ms'", "is less than 10 ms"),
        ("[capture]\nflush_interval = '2min'", "is more than 1 min"),
        ("[capture]\ndirection = 'inout'", "\"inout\" is not 'both', 'in' or 'out'"),
        ("[capture]\nringsize = '1GiB'", "unknown key; did you mean ring_size?"),
        ('[capture]\n"a b\\n" = 1', 'capture."a b\\n": unknown key; known here: filter, '),
        ("capture = 5", "capture: 5 is not a table: write [capture]"),
        ("filter = 'ip'", "filter: unknown key here; it belongs below [capture]"),
        ("[interfaces]\nname = 'a'", "interfaces: unknown key; did you mean interface?"),
        ("[capture]\nrotate_interval = 1970-01-01", '"1970-01-01" is not a number with a unit'),
        ("[capture]\nsnaplen = '" + "9" * 99999 + "'", "is not a number with a unit"),
    ],
)
def test_wrong_value(tmp_path: Path, text: str, expected: str) -> None:
    """One line, with the key's path, the value and what to write."""
    message = problem(tmp_path, f"{text}\n{ANY}")
    assert expected in message
    assert len(message) < 250


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "interface: no interface is named: add [[interface]]"),
        ("interface = []", "interface: no interface is named"),
        ("[interface]\nname = 'eth0'", "interface: write [[interface]], in two brackets"),
        ("interface = 'eth0'", "interface: write [[interface]], in two brackets"),
        ("interface = ['eth0']", 'interface[0]: "eth0" is not a table: write [[interface]]'),
        (
            "[[interface]]",
            'interface[0].name: is missing: write name = "eth0" below [[interface]]',
        ),
        (ANY + ANY, 'interface[1].name: interface[0] is called "@default" too'),
        (ANY + "min_free = '1GiB'", "it belongs below [storage]"),
        (
            ANY + "rotate_interval = '1s'\nflush_interval = '2s'",
            "interface[0].flush_interval: 2 s is longer than rotate_interval, 1 s",
        ),
        (
            "capture.flush_interval = '2s'\n" + ANY + "rotate_interval = '1s'",
            "interface[0].flush_interval: 2 s is longer",
        ),
    ],
)
def test_wrong_interface(tmp_path: Path, text: str, expected: str) -> None:
    """Missing, doubled, misspelt."""
    assert expected in problem(tmp_path, text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "is not the name of an interface"),
        (".", "is not the name of an interface"),
        ("..", "is not the name of an interface"),
        ("sixteen-bytes-16", "is longer than 15 bytes"),
        ("ßßßßßßßß", "is longer than 15 bytes"),
        ("eth0/1", "has a character"),
        ("eth0:1", "has a character"),
        ("en/*", "has a character"),
        ("e\\u0000", "has a character"),
        ("e\\u001b", "has a character"),
        ("eth0 or eth1", "has a space in it: write one [[interface]] for each"),
        ("eth0\\n", "has a space"),
        ("à", "has a space"),
        ("@any", 'is not "@default"'),
        ("*" * 65, "is not the name of an interface"),
    ],
)
def test_ill_formed_names(tmp_path: Path, name: str, expected: str) -> None:
    """No interface can be called so; a name that is merely absent is none of these."""
    message = problem(tmp_path, f'[[interface]]\nname = "{name}"')
    assert message.startswith("interface[0].name: ")
    assert expected in message


@pytest.mark.fault(43)
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"[capture", "is not TOML: Expected ']' at the end of a table declaration (at "),
        (b"a = 1\nb = \n", "(at line 2, column 5)"),
        (b"[capture]\nrotate_interval = 5s\n", "is not TOML: "),
        (b"[capture]\nsnaplen = '1B'\nsnaplen = '2B'\n", "is not TOML: "),
        (b"a = '\x01'", "is not TOML: Found invalid character"),
        (b"# ok\na = '\xe9'", "is not UTF-8 (at line 2)"),
        (ANY.encode("utf-16"), "save it as UTF-8"),
        (b"\0" * 100, "has NUL bytes"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a = " + b"1" * 10_000, "too many digits"),
        (b"\x7fELF" + b"x" * 2**20, "is larger than 1 MiB"),
    ],
)
def test_not_a_config(tmp_path: Path, content: bytes, expected: str) -> None:
    """One line."""
    assert expected in problem(tmp_path, content)


def test_unreadable(tmp_path: Path) -> None:
    """Not there, or not a file."""
    for path, reason in (
        (tmp_path / "absent.toml", "No such file"),
        (tmp_path, "Is a directory"),
        (Path("/proc/self/mem"), "Input/output error"),
    ):
        with pytest.raises(ConfigError, match=f"^{path}: cannot be read: {reason}"):
            load(str(path))
    with pytest.raises(ConfigError, match="is larger than"):
        load("/dev/zero")


texts = st.text(st.characters(max_codepoint=0x17F, exclude_characters="\x7f"), max_size=20)
keys = st.sampled_from(["interface", "capture", "storage", *Interface.model_fields]) | texts
values = st.recursive(
    st.booleans() | st.integers() | st.floats() | texts | st.sampled_from(["1s", "8MiB", "eth0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
)
tables = st.dictionaries(keys, values, max_size=3)


def test_a_file_that_cannot_be_read_just_now(tmp_path: Path) -> None:
    """That is no fault of the file, so that systemd is to try again; one that is gone is."""
    path = written(tmp_path, ANY)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.open(path, os.O_RDONLY)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, before[1]))
    try:
        for read in (load, examine):
            with pytest.raises(ConfigError, match="cannot be read: Too many open files") as caught:
                read(path)
            assert caught.value.passing
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    with pytest.raises(ConfigError) as caught:
        examine(f"{path}.gone")
    assert not caught.value.passing


@pytest.mark.fault(43)
@given(st.dictionaries(keys, values | tables | st.lists(tables, max_size=3), max_size=4))
def test_any_document_is_survived(document: dict[str, Any]) -> None:
    """Whatever a file holds, it is a config or a list of problems, each on one line."""
    text = "\n".join(f"{json.dumps(key)} = {toml(value)}" for key, value in document.items())
    with tempfile.TemporaryDirectory() as folder:
        try:
            assert load(written(Path(folder), text)).interface
        except ConfigError:
            assert problems(Path(folder), text)


def toml(value: object) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return (
            f"{{{', '.join(f'{json.dumps(key)} = {toml(item)}' for key, item in value.items())}}}"
        )
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return repr(value) if isinstance(value, float) else json.dumps(value)


@pytest.mark.parametrize(
    "value", ['"/bin/curl hunter2"', '["curl hunter2"]', '["/bin/curl" "hunter2"]']
)
@pytest.mark.security("secrets")
def test_a_password_is_not_repeated(tmp_path: Path, value: str) -> None:
    """What a command is given may be one, and what is wrong goes to the journal."""
    for key in ("[alert]\ncommand", "[hook]\nsegment_closed"):
        text = f'{key} = {value}\n[[interface]]\nname = "x"'
        assert "hunter2" not in problem(tmp_path, text)
