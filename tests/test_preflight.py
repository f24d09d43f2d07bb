"""What `capd check` and `capd run` refuse, in the same words, and what is left behind: nothing."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from capd import ring
from capd import status as statuses
from capd.daemon.preflight import examine
from capd.errors import ConfigError
from tests.support.command import NOBODY, check, refusal
from tests.support.need import need, need_namespaces
from tests.support.net import Namespace
from tests.test_status import RING, STATUS

V0 = '[[interface]]\nname = "v0"\n'
V1 = '[[interface]]\nname = "v1"\n'
SHARED, OWN = "capture.filter", "interface[1].filter"
WITHOUT_ROOTS_RIGHTS = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


@pytest.fixture(scope="module")
def net() -> Iterator[Namespace]:
    """Silent, without a default route."""
    need_namespaces()
    need("setpriv")
    with Namespace() as namespace:
        namespace.add_veth("v0", "v1")
        yield namespace


@pytest.fixture
def own_net() -> Iterator[Namespace]:
    need_namespaces()
    with Namespace() as namespace:
        namespace.add_veth("v0", "v1")
        yield namespace


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "captures"
    path.mkdir(0o750)
    return path


def config(directory: Path, text: str) -> Path:
    """A config file with this text after a good `[storage] directory`."""
    path = directory.with_name("capd.toml")
    path.write_text(f'[storage]\ndirectory = "{directory}"\n{text}')
    return path


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f"foo = 1\n{V0}", "storage.foo: unknown key; known here: directory, require_mount, "),
        (f'{V0}ring = "1GiB"\n', "belongs below [tuning], or did you mean ring_size?"),
        (f"[capture]\nfilter = 5\n{V0}", "capture.filter: 5 is not text: put it in quotes"),
        (f"{V0}ring_size = 256\n", "interface[0].ring_size: 256 has no unit: write it as "),
        (f'sync_interval = "5 parsec"\n{V0}', 'unknown unit "parsec": use one of '),
        (f"{V0}{V0}", 'interface[1].name: interface[0] is called "v0" too'),
        ('[[interface]]\nname = "v 0"\n', 'interface[0].name: "v 0" has a space in it'),
        ('[[interface]]\nname = "@vpn"\n', '"@vpn" is not "@default", the only name with a'),
        (f'{V0}filter = "udp and ("\n', "cannot use the filter 'udp and (': can't parse filter"),
        (
            f'{V0}filter = "host www.example.com"\n',
            (
                "interface[0].filter: cannot use the filter 'host www.example.com': unknown host "
                "'www.example.com'; capd accepts addresses only"
            ),
        ),
        ("[[interface]\n", "is not TOML: "),
        ("", 'no interface is named: add [[interface]] with name = "@default"'),
    ],
)
def test_one_problem(net: Namespace, directory: Path, text: str, problem: str) -> None:
    (line,) = refusal(net, config(directory, text))
    assert problem in line
    assert list(directory.iterdir()) == []


def test_all_problems_at_once(net: Namespace, tmp_path: Path) -> None:
    """The schema's, the filters' and the directory's: what can be known is told."""
    (tmp_path / "file").touch()
    path = tmp_path / "capd.toml"
    path.write_text(
        f"""
        colour = "red"
        [storage]
        directory = "{tmp_path}/file"
        sync_interval = 5
        [capture]
        filter = "host www.example.com"
        [[interface]]
        name = "v 0"
        filter = "nonsense (("
        [[interface]]
        name = "v1"
        snaplen = "1 furlong"
        filter = "vlan vlan"
        """
    )
    found = refusal(net, path)
    assert [re.split(": ", line)[0] for line in found] == [
        "storage.sync_interval",
        "interface[0].name",
        "interface[1].snaplen",
        "colour",
        "capture.filter",
        "interface[0].filter",
        "interface[1].filter",
        "storage.directory",
    ]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('storage = 5\n[[interface]]\nname = "v0"\n', ["storage", SHARED]),
        ("interface = 5\n", ["interface", SHARED]),
        ('interface = [5, {name = "v0", filter = "(("}]\n', ["interface[0]", SHARED, OWN]),
        (
            'interface = [{name = "v1"}, {filter = "(("}]\n',
            ["interface[1].name", SHARED, OWN],
        ),
        (
            f'{V1}{V0}direction = "up"\nfilter = "(("\n',
            ["interface[1].direction", SHARED, OWN],
        ),
        (f'{V1}{V0}filter = "(("\nx = {{y = 1}}\n', ["interface[1].x", SHARED, OWN]),
        (f"{V0}filter = 5\n", ["interface[0].filter", SHARED]),
        ("[storage]\ndirectory = 5\n" + V0, ["storage.directory", SHARED]),
    ],
)
def test_filters_are_looked_at_beside_other_problems(
    tmp_path: Path, text: str, places: list[str]
) -> None:
    """Whatever is broken about the tables around them, and under their own numbers."""
    path = tmp_path / "capd.toml"
    path.write_text(f'capture.filter = "(("\n{text}')
    with pytest.raises(ConfigError) as raised:
        examine(str(path))
    assert [line.split(": ")[1] for line in raised.value.problems] == places


@pytest.mark.fault(18)
def test_a_ring_larger_than_memory(own_net: Namespace, directory: Path) -> None:
    """What was asked for, and what there is."""
    available = ring.available_memory()
    count = available // (64 * 2**30) + 1
    for number in range(count):
        own_net.add_veth(f"big{number}", f"far{number}")
    path = config(directory, '[[interface]]\nname = "big*"\nring_size = "64GiB"\n')
    (problem,) = refusal(own_net, path)
    told = re.fullmatch(
        r"the rings come to (?P<asked>.+), more than 75% of the (?P<there>.+) of memory available; "
        r"make ring_size smaller",
        problem,
    )
    assert told is not None
    assert told["asked"] in (f"{count * 64} GiB", f"{count * 64 / 1024:.4g} TiB")
    assert list(directory.iterdir()) == []


def test_memory_that_rings_have_already(
    own_net: Namespace, directory: Path, tmp_path: Path
) -> None:
    """A reload gives it back: beside a capd that runs it is not missing."""
    for number in range(ring.available_memory() // (64 * 2**30) + 1):
        own_net.add_veth(f"big{number}", f"far{number}")
    path = config(directory, '[[interface]]\nname = "big*"\nring_size = "64GiB"\n')
    running = replace(
        STATUS, written_at=time.time_ns(), rings=[replace(RING, ring_bytes=100 * 2**40)]
    )
    statuses.write(f"{tmp_path}/status.json", running)
    beside = ("env", f"RUNTIME_DIRECTORY={tmp_path}")
    checked = check(own_net, path, beside)
    assert checked.returncode == 0
    assert "100 TiB of it in the rings of the capd that runs" in " ".join(checked.stdout.split())
    statuses.write(f"{tmp_path}/status.json", replace(running, written_at=1))
    assert check(own_net, path, beside).returncode == 2


def test_an_exact_name_that_cannot_be_captured(own_net: Namespace, directory: Path) -> None:
    """A tunnel has no tags.  Found by a pattern it is a warning, and the others are captured."""
    own_net.run(["ip", "tuntap", "add", "v2", "mode", "tun"])
    text = '[capture]\nfilter = "vlan 5"\nring_size = "8MiB"\n[[interface]]\nname = "{}"\n'
    reason = "v2: cannot capture: cannot use the filter 'vlan 5': no VLAN support for Raw IP"
    assert refusal(own_net, config(directory, text.format("v2"))) == [reason]
    path = config(directory, text.format("v*"))
    checked = check(own_net, path)
    assert checked.returncode == 0
    assert f"{path}: warning: {reason}" in checked.stderr.splitlines()
    assert "\nv1, because of " in checked.stdout
    assert "\nv2, because of " not in checked.stdout


def test_missing_config(net: Namespace, tmp_path: Path) -> None:
    (problem,) = refusal(net, tmp_path / "none.toml")
    assert problem == "cannot be read: No such file or directory"


def test_a_folder_as_config(net: Namespace, tmp_path: Path) -> None:
    assert refusal(net, tmp_path) == ["cannot be read: Is a directory"]


def test_unreadable_config(net: Namespace, directory: Path) -> None:
    path = config(directory, V0)
    path.chmod(0o600)
    os.chown(path, NOBODY, NOBODY)
    assert refusal(net, path, WITHOUT_ROOTS_RIGHTS) == ["cannot be read: Permission denied"]


def test_not_utf8(net: Namespace, directory: Path) -> None:
    path = config(directory, V0)
    path.write_bytes(path.read_bytes() + b"# caf\xe9\n")
    assert refusal(net, path) == ["is not UTF-8 (at line 5); save it as UTF-8"]
