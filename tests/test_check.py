"""What `capd check` tells of a config that can be used: its settings, its sums, its warnings."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd.config import Config, Interface
from capd.daemon.check import warnings
from capd.daemon.confinement import try_program
from capd.daemon.directory import mount_point
from capd.daemon.links import Link, Links
from capd.daemon.plans import resolve
from capd.daemon.preflight import Usable
from capd.errors import StorageError
from tests.support.command import check, mounted
from tests.support.need import need, need_namespaces
from tests.support.net import Namespace

V0 = '[[interface]]\nname = "v0"\n'


@pytest.fixture
def own_net() -> Iterator[Namespace]:
    need_namespaces()
    need("ethtool")
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


LONG = " or ".join(f"host 192.0.2.{number}" for number in range(1, 9))
SETTINGS = f"""
[capture]
ring_size = "512MiB"
filter = "{LONG}"
[[interface]]
name = "@default"
[[interface]]
name = "v0"
filter = ""
snaplen = "96B"
direction = "in"
promiscuous = false
record_direction = true
rotate_size = "64MiB"
rotate_interval = "90s"
flush_interval = "20ms"
"""
TOLD = [
    """\
v1, because of "@default"
  filter            host 192.0.2.1 or host 192.0.2.2 or host 192.0.2.3 or host 192.0.2.4 or host
                    192.0.2.5 or host 192.0.2.6 or host 192.0.2.7 or host 192.0.2.8
  snaplen           256 KiB: whole packets
  promiscuous       yes
  record_direction  no
  ring_size         512 MiB (128 blocks of 4 MiB); holds 0.36 s at the link's 10 Gb/s
  rotate_size       1 GiB
  rotate_interval   1 h, at its multiples in UTC
  flush_interval    500 ms; a packet is in its file within twice that""",
    """\
v0
  filter            inbound
  snaplen           96 B: longer packets are cut
  promiscuous       no
  record_direction  yes
  ring_size         512 MiB (128 blocks of 4 MiB); holds 0.36 s at the link's 10 Gb/s
  rotate_size       64 MiB
  rotate_interval   90 s, at its multiples in UTC
  flush_interval    20 ms; a packet is in its file within twice that""",
]


def test_the_whole_output(own_net: Namespace, directory: Path) -> None:
    """Two interfaces, one by its name and one as @default, no warning."""
    own_net.run(["ip", "route", "add", "default", "dev", "v1"])
    mount = mount_point(str(directory))
    hook = '[hook]\nsegment_closed = ["/bin/true", "a b"]\nparallel = 2\nkeep_until_done = true\n'
    path = config(directory, f"require_mount = {str(mount != '/').lower()}\n{hook}{SETTINGS}")
    checked = check(own_net, path)
    assert (checked.returncode, checked.stderr) == (0, "")
    tables, _, verdict = checked.stdout.rpartition("\n\n")
    assert verdict == f"{path}: no problem, no warnings\n"
    *interfaces, together = tables.split("\n\n")
    assert interfaces == TOLD
    assert re.fullmatch(
        r"all together memory 1 GiB of rings, \S+ \S+ available "
        rf"disk \S+ \S+ free for {re.escape(str(directory))} \(mounted at {re.escape(mount)}\) "
        r"worst case full in \S+ \S+ when every link is full in one direction \(2.5 GB/s\); "
        r"then the oldest goes retention the oldest goes, so that \S+ \S+ of the disk stay free "
        r"\(max_usage\) power cut costs at most 5 s and one write "
        r"alert of each packet lost at one stage within 1 min: in the journal only "
        r"hook /bin/true 'a b', for each finished file, 2 at a time; files are kept until then, "
        r"while the disk has room",
        " ".join(together.split()),
    )
    assert list(directory.iterdir()) == []


def test_only_warnings(own_net: Namespace, directory: Path) -> None:
    """What is absent, and what is probably not meant: exit code 0, each with what to do."""
    own_net.run(["ethtool", "-K", "v0", "gro", "on"])
    path = config(
        directory,
        f"""max_age = "30d"
        {V0}
        ring_size = "8MiB"
        max_size = "1GiB"
        [[interface]]
        name = "w0"
        [[interface]]
        name = "w*"
        [[interface]]
        name = "v?[!1]*"
        [[interface]]
        name = "*0"
        [[interface]]
        name = "@default"
        [compression]
        enabled = true
        """,
    )
    checked = check(own_net, path)
    assert checked.returncode == 0
    prefix = f"{path}: warning: "
    found = [line.removeprefix(prefix) for line in checked.stderr.splitlines()]
    assert [line for line in found if "require_mount" not in line] == [
        '"w0": there is no such interface; capd waits for one',
        '"w*": there is no interface like that; capd waits for one',
        '"v?[!1]*": there is no interface like that; capd waits for one',
        '"*0": what it means has an entry that comes first; capd waits for one',
        '"@default": there is no default route; capd waits for one',
        (
            "v0: packets are merged before they are recorded, as gro is on; to have them as on the "
            "wire: ethtool -K v0 gro off"
        ),
        (
            "v0: ring_size 8 MiB holds 0.0056 s at link speed, less than twice the 150 ms of a "
            "restart; make it larger"
        ),
        "v0: max_size 1 GiB is less than 3 files (3 GiB): make rotate_size smaller",
    ]
    assert checked.stdout.endswith(f"{path}: no problem, {len(found)} warnings\n")
    own_net.run(["ethtool", "-K", "v0", "gro", "off"])
    assert "gro" not in check(own_net, path).stderr


def test_a_second_directory(own_net: Namespace, directory: Path) -> None:
    """What it comes to; that it cannot be used is no reason not to capture."""
    second = directory.parent / "archive"
    is_mounted = mount_point(str(directory)) != "/"
    tables = f'{V0}ring_size = "1GiB"\n[archive]\ndirectory = "{second}"\nmax_age = "30d"\n'
    path = config(directory, f"{tables}require_mount = {str(is_mounted).lower()}\n")

    def told() -> tuple[str, str]:
        done = check(own_net, path)
        assert done.returncode == 0
        _, found, text = done.stderr.partition(f"{path}: warning: archive.directory: ")
        return " ".join(done.stdout.split()), text.rstrip() if found else ""

    comes_to, doubt = told()
    assert f"archive {second}, which cannot be used now: nothing moves there" in comes_to
    assert doubt.startswith(
        f"there is no {second}, so that nothing moves there; mount its disk, or"
    )
    second.mkdir(0o777)
    second.chmod(0o777)
    comes_to, doubt = told()
    assert f"free for {second} (mounted at {mount_point(str(second))}) finished files" in comes_to
    assert "(max_usage); nothing older than 30 d power cut" in comes_to
    assert doubt == f"cannot use {second}: everyone may write to it; run: chmod o-w {second}"
    second.chmod(0o750)
    assert told()[1].startswith(f"{second} is on the disk of {directory}: what moves there")
    assert list(second.iterdir()) == []


def test_a_second_directory_on_a_disk_of_its_own(own_net: Namespace, directory: Path) -> None:
    """Where that is not mounted one day, what moves would fill the root disk."""
    second = directory.parent / "archive"
    second.mkdir(0o750)
    tables = f'{V0}ring_size = "1GiB"\n[archive]\ndirectory = "{second}"\n'
    disk = mounted("-t", "tmpfs", "-omode=750", "tmpfs", str(second))
    checked = check(own_net, config(directory, tables), disk)
    told = f"archive.directory: {second} is on the disk mounted at {second}; with require_mount"
    assert (checked.returncode, told in checked.stderr) == (0, True)
    checked = check(own_net, config(directory, f"{tables}require_mount = true\n"), disk)
    assert (checked.returncode, "archive.directory" in checked.stderr) == (0, False)


def test_a_command_that_cannot_run(own_net: Namespace, directory: Path) -> None:
    script = directory.parent / "script"
    script.write_text("#!/bin/sh\n")
    tables = f'[alert]\ncommand = ["/usr/bin/mial"]\n[hook]\nsegment_closed = ["{script}"]\n{V0}'
    path = config(directory, tables)
    checked = check(own_net, path)
    assert checked.returncode == 0
    assert f"{path}: warning: alert.command: there is no /usr/bin/mial\n" in checked.stderr
    assert (
        f"{path}: warning: hook.segment_closed: cannot run {script}: user root may not; "
        f"chmod a+rx {script}\n"
    ) in checked.stderr
    script.chmod(0o755)
    path.write_text(path.read_text().replace("/usr/bin/mial", str(directory)))
    checked = check(own_net, path)
    assert f"alert.command: cannot run {directory}: it is not a file\n" in checked.stderr
    assert "hook.segment_closed" not in checked.stderr


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is a script without #! and its interpreter"),
        (b"gzip $CAPD_PATH\n", "it is a script without #! and its interpreter"),
        (b"#!/bin/sh\r\nexit\r\n", r'its first line names "/bin/sh\r", which is not there'),
        (b"#! /bin/bsah -e\n", 'its first line names "/bin/bsah", which is not there'),
        (b"#!/bin/sh", ""),
        (b"#! /usr/bin/env python3\n", ""),
        (b"\x7fELF\0", ""),
    ],
)
def test_a_command_that_nothing_can_run(tmp_path: Path, content: bytes, why: str) -> None:
    """Not without a shell, which a config's commands never have."""
    script = tmp_path / "script"
    script.write_bytes(content)
    script.chmod(0o755)
    if not why:
        try_program(str(script))
        return
    with pytest.raises(OSError, match=r"Exec format error|No such file"):
        subprocess.run([script], check=True)
    with pytest.raises(StorageError) as raised:
        try_program(str(script))
    assert str(raised.value) == f"cannot run {script}: {why}"


def test_a_default_route_that_has_its_own_entry(own_net: Namespace, directory: Path) -> None:
    own_net.run(["ip", "route", "add", "default", "dev", "v0"])
    path = config(directory, f'{V0}ring_size = "1GiB"\n[[interface]]\nname = "@default"\n')
    checked = check(own_net, path)
    assert checked.returncode == 0
    assert (
        f'{path}: warning: "@default": v0 has the default route and an entry that comes first'
    ) in checked.stderr.splitlines()


def usable(tmp_path: Path, *entries: str, **links: Link) -> Usable:
    """A config for links made by hand."""
    config = Config.model_validate(
        {
            "storage": {
                "directory": str(tmp_path),
                "require_mount": mount_point(str(tmp_path)) != "/",
            },
            "interface": tuple(Interface(name=name) for name in entries),
        }
    )
    present = Links(links, None)
    return Usable(config, present, resolve(config, present))


def test_rules_that_keep_nothing(own_net: Namespace, directory: Path) -> None:
    """Every file would be deleted as soon as it is finished."""
    text = f'{V0}rotate_size = "64MiB"\nmax_size = "191MiB"\n[[interface]]\nname = "v1"\n'
    told = [
        "storage.max_files: 1 is less than one file of each interface",
        "v0: max_size 191 MiB is less than 3 files (192 MiB): make rotate_size smaller",
    ]
    path = config(directory, f"max_files = 1\n{text}")
    said = check(own_net, path).stderr
    assert all(f"{path}: warning: {line}\n" in said for line in told)
    path = config(directory, f"max_files = 2\n{text}".replace("191MiB", "192MiB"))
    said = check(own_net, path).stderr
    assert not re.search("max_files|max_size", said)


def test_a_bond_and_its_members(tmp_path: Path) -> None:
    """Hand-made: not every kernel has bonding."""
    links = {
        "bond7": Link("bond7", 901, 1),
        "xa": Link("xa", 902, 1, bond="bond7"),
        "xb": Link("xb", 903, 1, bond="bond7"),
    }
    text = "{} is a member of bond7, which is captured too: its packets come twice"
    assert list(warnings(usable(tmp_path, "x*", "bond7", **links))) == [
        text.format("xa"),
        text.format("xb"),
    ]
    assert list(warnings(usable(tmp_path, "xb", "bond7", **links))) == [text.format("xb")]
    assert list(warnings(usable(tmp_path, "x*", **links))) == []
    assert list(warnings(usable(tmp_path, "bond7", **links))) == []


def test_a_name_with_a_letter_that_the_terminal_lacks(own_net: Namespace, directory: Path) -> None:
    own_net.run(["ip", "link", "set", "v0", "down", "name", "é0"])
    path = config(directory, '[[interface]]\nname = "é0"\nring_size = "1GiB"\n')
    ascii_only = ("env", "PYTHONIOENCODING=ascii")
    checked = check(own_net, path, ascii_only)
    assert checked.returncode == 0
    assert checked.stdout.startswith("\\xe90\n")
