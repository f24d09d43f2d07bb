"""What a config file means, and the one that ships."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from capd.config import (
    Alert,
    Archive,
    Capture,
    Compression,
    Config,
    Hook,
    Interface,
    Metrics,
    Monitor,
    Storage,
    load,
    without_effect,
)
from capd.config_tuning import MOST, Channels, Coalesce, InterfaceTuning, Tuning
from capd.config_values import name_kind
from capd.errors import ConfigError

SHIPPED = Path(__file__).resolve().parent.parent / "etc" / "capd.toml"
UNSET = (None, (), Coalesce(), Channels(), InterfaceTuning())
ANY = '[[interface]]\nname = "@default"\n'
KEY = re.compile(r"#?(\w+) = .*")


def config(folder: Path, text: str) -> Config:
    """What `load` makes of this file."""
    path = folder / "capd.toml"
    path.write_bytes(text.encode())
    return load(str(path))


def test_defaults(tmp_path: Path) -> None:
    """The smallest file."""
    loaded = config(tmp_path, ANY)
    assert loaded.storage == Storage()
    assert loaded.storage.directory == "/var/lib/capd"
    assert loaded.storage.sync_interval == 5 * 10**9
    settings = loaded.settings(loaded.interface[0])
    assert settings == Capture()
    assert type(settings) is Capture
    assert (settings.snaplen, settings.ring_size, settings.rotate_size) == (262144, None, 2**30)
    assert (settings.rotate_interval, settings.flush_interval) == (3600 * 10**9, 5 * 10**8)
    assert (settings.filter, settings.direction) == ("", "both")
    assert settings.promiscuous
    assert not settings.record_direction


def test_inheritance(tmp_path: Path) -> None:
    """An interface's own key, else [capture]'s, else the default; also if it says the default."""
    text = """
        [capture]
        filter = "ip"
        snaplen = "96B"
        promiscuous = false
        [[interface]]
        name = "eth0"
        filter = ""
        ring_size = "1GiB"
        [[interface]]
        name = "enp*"
        snaplen = "256KiB"
        promiscuous = true
    """
    loaded = config(tmp_path, text)
    first, second = (loaded.settings(interface) for interface in loaded.interface)
    assert (first.filter, first.snaplen, first.promiscuous) == ("", 96, False)
    assert (first.ring_size, second.ring_size) == (2**30, None)
    assert (second.filter, second.snaplen, second.promiscuous) == ("ip", 262144, True)


def test_frozen(tmp_path: Path) -> None:
    """A config in use does not change."""
    loaded = config(tmp_path, ANY)
    with pytest.raises(ValidationError):
        loaded.storage.directory = "/tmp"
    assert isinstance(loaded.interface, tuple)
    assert hash(loaded) == hash(config(tmp_path, ANY))


def test_retention(tmp_path: Path) -> None:
    """Of everything, and of one interface."""
    text = """
        [storage]
        max_usage = "90%"
        min_free = "10GiB"
        max_size = "1TiB"
        max_files = 1000
        max_age = "30d"
        [[interface]]
        name = "eth0"
        [[interface]]
        name = "eth1"
        max_age = "1d"
        max_size = "1GiB"
    """
    loaded = config(tmp_path, text)
    storage, (first, second) = loaded.storage, loaded.interface
    assert (storage.max_usage, storage.min_free) == (0.9, 10 * 2**30)
    assert (storage.max_size, storage.max_files) == (2**40, 1000)
    assert (first.max_age, first.max_size) == (None, None)
    assert (second.max_age, second.max_size) == (86400 * 10**9, 2**30)
    assert config(tmp_path, ANY).storage.max_usage == 0.95


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("eth0", "exact"),
        ("enp3s0f0.4094", "exact"),
        ("a", "exact"),
        ("fifteen-bytes15", "exact"),
        ("veth@x", "exact"),
        ("lan-ß", "exact"),
        ("*", "pattern"),
        ("enp*", "pattern"),
        ("eth[0-9]", "pattern"),
        ("enp3s0f0np[01]_long*", "pattern"),
        ("eth?", "pattern"),
        ("@default", "default"),
    ],
)
def test_names(tmp_path: Path, name: str, kind: str) -> None:
    """What the kernel allows, patterns, and one word."""
    loaded = config(tmp_path, f'[[interface]]\nname = "{name}"')
    assert loaded.interface[0].name == name
    assert loaded.interface[0].name_kind == kind == name_kind(name)


@pytest.mark.parametrize("spelling", ["/data/cap", "/data/cap/", "//data//cap", "/data/./cap"])
def test_directory_has_one_spelling(tmp_path: Path, spelling: str) -> None:
    """A reload compares directories as text."""
    loaded = config(tmp_path, f'[storage]\ndirectory = "{spelling}"\n{ANY}')
    assert loaded.storage.directory == "/data/cap"


def test_byte_order_mark_and_crlf(tmp_path: Path) -> None:
    """Editors on other systems add them."""
    assert config(tmp_path, "\ufeff" + ANY.replace("\n", "\r\n")) == config(tmp_path, ANY)


SECTIONS = {
    "storage": Storage.model_fields.keys(),
    "compression": Compression.model_fields.keys(),
    "capture": Capture.model_fields.keys(),
    "monitor": Monitor.model_fields.keys(),
    "alert": Alert.model_fields.keys(),
    "hook": Hook.model_fields.keys(),
    "metrics": Metrics.model_fields.keys(),
    "tuning": Tuning.model_fields.keys(),
    "interface": Interface.model_fields.keys() - Capture.model_fields.keys(),
}


def test_shipped_file_works() -> None:
    """As it is, it records the interface of the default route."""
    shipped = load(str(SHIPPED))
    assert [interface.name_kind for interface in shipped.interface] == ["default"]
    assert shipped.model_dump() == Config(interface=(Interface(name="@default"),)).model_dump()


def test_an_archive(tmp_path: Path) -> None:
    """Rules of its own, with the same defaults; not without a directory, nor in the other one."""
    loaded = config(tmp_path, '[archive]\ndirectory = "/archive"\nmin_free = "1GiB"\n' + ANY)
    assert loaded.archive is not None
    assert (loaded.archive.max_usage, loaded.archive.min_free) == (0.95, 2**30)
    assert loaded.directories == ("/var/lib/capd", "/archive")
    assert config(tmp_path, ANY).directories == ("/var/lib/capd",)
    for text, problem in {
        'max_age = "1d"': (
            r'archive.directory: is missing: write directory = "/data/archive" below \[archive\]'
        ),
        'directory = "/var/lib/capd/old"': "lie in each other",
        'directory = "/var/lib"': "lie in each other",
        'directory = "/archive"\nsync_interval = "1s"': "archive.sync_interval: unknown key",
    }.items():
        with pytest.raises(ConfigError, match=problem):
            config(tmp_path, f"[archive]\n{text}\n{ANY}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", []),
        ("[compression]\nenabled = false\nlevel = 9", []),
        ("[compression]\nlevel = 9", ["compression.level: has no effect without enabled = true"]),
        (
            '[hook]\nkeep_until_done = true\n[alert]\npackets = 9\ntimeout = "1s"',
            [
                "hook.keep_until_done: has no effect without segment_closed",
                "alert.timeout: has no effect without command",
            ],
        ),
        ('[hook]\nparallel = 2\nsegment_closed = ["/bin/true"]', []),
    ],
)
def test_keys_without_effect(tmp_path: Path, text: str, told: list[str]) -> None:
    """Whoever sets a level means to compress."""
    assert list(without_effect(config(tmp_path, f"{text}\n{ANY}"))) == told


def test_tuning(tmp_path: Path) -> None:
    """Of every interface, key by key what its own table says instead, and of the kernel."""
    text = """
        [tuning]
        ring = "max"
        offloads = { gro = false }
        [tuning.coalesce]
        rx_usecs = 50
        [tuning.sysctl]
        "net.core.netdev_max_backlog" = 10000
        "net.ipv4.tcp_rmem" = " 4096\\t131072 6291456"
        [[interface]]
        name = "eth0"
        [interface.tuning]
        ring = 512
        coalesce = {}
        [[interface]]
        name = "eth1"
    """
    loaded = config(tmp_path, text)
    first, second = map(loaded.tuned, loaded.interface)
    assert type(first) is InterfaceTuning
    assert (first.ring, first.coalesce, first.offloads) == (512, Coalesce(), (("gro", False),))
    assert (second.ring, second.coalesce) == (MOST, Coalesce(rx_usecs=50))
    assert dict(loaded.tuning.sysctl) == {
        "net.core.netdev_max_backlog": "10000",
        "net.ipv4.tcp_rmem": "4096 131072 6291456",
    }
    assert config(tmp_path, ANY).tuning == Tuning()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("rings = 5", "tuning.rings: unknown key; did you mean ring?"),
        ("ring = 0", 'tuning.ring: 0 is neither a number above 0 nor "max"'),
        ("ring = true", 'tuning.ring: true is neither a number above 0 nor "max"'),
        ("channels = 4", "tuning.channels: 4 is not a table: write [tuning.channels] and its"),
        ("coalesce = { rx_usec = 3 }", "tuning.coalesce.rx_usec: unknown key; did you mean rx_us"),
        ("coalesce = { rx_usecs = -1 }", "tuning.coalesce.rx_usecs: -1 is less than 0"),
        ("offloads = { gro = 0 }", "tuning.offloads: gro: 0 is neither true nor false"),
        ("offloads = { GRO = false }", '"GRO" is not a name that `ethtool -K` takes'),
        ("offloads = 1", "tuning.offloads: 1 is not a table"),
        ("sysctl = { net.core.rmem_max = 5 }", "tuning.sysctl: put the whole name in quotes"),
        ('sysctl = { "kernel.panic" = 5 }', '"kernel.panic" is not the name of a sysctl below'),
        ('sysctl = { "net/../vm/x" = 5 }', '"net/../vm/x" is not the name of a sysctl below'),
        ('sysctl = { "net.a" = 1.5 }', "net.a: 1.5 is neither a whole number nor text"),
        ('sysctl = { "net.a" = "1\\n2" }', "is not one line of text"),
    ],
)
def test_tuning_that_means_nothing(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config(tmp_path, f"[tuning]\n{text}\n{ANY}")
    assert problem in str(caught.value)


def test_shipped_file_shows_an_archive(tmp_path: Path) -> None:
    """As an example, with every key, which is valid as it stands."""
    text = SHIPPED.read_text()
    example = text[text.index("# [archive]") : text.index("\n[capture]")]
    loaded = config(tmp_path, re.sub("^# ", "", example, flags=re.MULTILINE) + ANY)
    assert loaded.archive is not None
    assert loaded.archive.model_fields_set == Archive.model_fields.keys()


def test_shipped_file_has_every_key() -> None:
    """In its table, and no other key."""
    section, found = "", []
    for line in SHIPPED.read_text().splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif match := KEY.fullmatch(line):
            found.append((section, match[1]))
    assert sorted(found) == sorted((name, key) for name, own in SECTIONS.items() for key in own)


def test_shipped_file_shows_the_defaults(tmp_path: Path) -> None:
    """Every key behind a `#` is valid as it stands, and its value is the default, if it has one."""
    lines = SHIPPED.read_text().splitlines()
    text = "\n".join(line.removeprefix("#") if KEY.fullmatch(line) else line for line in lines)
    shown = config(tmp_path, text)
    for table in (
        *(shown.storage, shown.compression, shown.capture, shown.interface[0]),
        *(shown.monitor, shown.alert, shown.hook, shown.metrics, shown.tuning),
    ):
        fields = type(table).model_fields
        defaults = {key: field.default for key, field in fields.items() if key != "name"}
        assert {key: getattr(table, key) for key in defaults} == {
            key: getattr(table, key) if default in UNSET else default
            for key, default in defaults.items()
        }
