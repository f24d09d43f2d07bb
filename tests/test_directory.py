"""Which directories capd writes to, and what it says of the others."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd.daemon.directory import check_directory, directory_doubts, mount_point
from capd.errors import StorageError
from tests.support.command import AS_NOBODY, NOBODY, check, mounted, refusal
from tests.support.need import need, need_namespaces
from tests.support.net import Namespace
from tests.support.recorder import write_config


@pytest.fixture(scope="module")
def net() -> Iterator[Namespace]:
    need_namespaces()
    need("setpriv", "mount")
    with Namespace() as namespace:
        namespace.add_veth("v0", "v1")
        yield namespace


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "captures"
    path.mkdir(0o750)
    return path


@pytest.fixture
def config(tmp_path: Path, directory: Path) -> Path:
    return write_config(tmp_path / "capd.toml", directory, "v0", capture='ring_size = "8MiB"')


def absent_on_root() -> str:
    """A path on the root file system that is not there, whatever else this machine mounts."""
    return f"/capd-test-{secrets.token_hex(8)}"


def test_a_good_directory(net: Namespace, config: Path, directory: Path) -> None:
    assert check(net, config).returncode == 0
    assert list(directory.iterdir()) == []


@pytest.mark.fault(51)
@pytest.mark.security("directory")
def test_world_writable(net: Namespace, config: Path, directory: Path) -> None:
    directory.chmod(0o757)
    assert refusal(net, config) == [
        (
            f"storage.directory: cannot use {directory}: everyone may write to it; "
            f"run: chmod o-w {directory}"
        )
    ]
    assert list(directory.iterdir()) == []


@pytest.mark.security("directory")
def test_of_another_owner(net: Namespace, config: Path, directory: Path) -> None:
    """Both reasons at once; a user without a name is a number."""
    directory.chmod(0o757)
    os.chown(directory, 54321, -1)
    assert refusal(net, config) == [
        (
            f"storage.directory: cannot use {directory}: everyone may write to it; "
            f"run: chmod o-w {directory}"
        ),
        (
            f"storage.directory: cannot use {directory}: it belongs to 54321 and capd runs as "
            f"root; run: chown root {directory}"
        ),
    ]


@pytest.mark.fault(51)
@pytest.mark.security("directory")
def test_a_symbolic_link(net: Namespace, config: Path, directory: Path) -> None:
    target = directory.rename(directory.with_name("elsewhere"))
    directory.symlink_to(target)
    assert refusal(net, config) == [
        (
            f"storage.directory: cannot use {directory}: it is a symbolic link to {target}; "
            "name the directory itself"
        )
    ]
    assert list(target.iterdir()) == []


def test_a_link_to_nothing(net: Namespace, config: Path, directory: Path) -> None:
    directory.rmdir()
    directory.symlink_to("nowhere")
    (problem,) = refusal(net, config)
    assert "it is a symbolic link to nowhere;" in problem


def test_a_file_in_its_place(net: Namespace, config: Path, directory: Path) -> None:
    directory.rmdir()
    directory.write_text("mine")
    assert refusal(net, config) == [
        f"storage.directory: cannot use {directory}: it is not a directory; move that file away"
    ]
    assert directory.read_text() == "mine"


def test_below_a_file(net: Namespace, tmp_path: Path) -> None:
    below = tmp_path / "capd.toml" / "captures"
    config = write_config(tmp_path / "capd.toml", below, "v0")
    assert refusal(net, config) == [
        f"storage.directory: cannot make {below}: Not a directory; name another directory"
    ]


def test_it_is_made(net: Namespace, tmp_path: Path) -> None:
    """`check` leaves no trace of it; a start keeps it, closed to the world."""
    directory = tmp_path / "a" / "b" / "captures"
    config = write_config(tmp_path / "capd.toml", directory, "v0", capture='ring_size = "8MiB"')
    assert check(net, config).returncode == 0
    assert not (tmp_path / "a").exists()
    check_directory(str(directory), require_mount=False)
    assert directory.stat().st_mode & 0o7777 == 0o750
    assert list(directory.iterdir()) == []


@pytest.mark.fault(51)
@pytest.mark.security("modes")
def test_one_that_is_made_is_closed_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        check_directory(str(tmp_path / "a" / "b"), require_mount=False)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "a" / "b").stat().st_mode & 0o7777 == 0o750


def test_unwritable_for_the_user(net: Namespace, config: Path, directory: Path) -> None:
    """Root's, and open to be read."""
    assert refusal(net, config, AS_NOBODY) == [
        (
            f"storage.directory: cannot create a file in {directory}: user nobody may not; "
            f"as root: install -d -m 750 -o nobody {directory}"
        )
    ]


def test_the_advice_helps(net: Namespace, config: Path, directory: Path) -> None:
    net.run(["install", "-d", "-m", "750", "-o", "nobody", str(directory)])
    assert directory.stat().st_uid == NOBODY
    assert check(net, config, AS_NOBODY).returncode == 0


def test_a_parent_that_the_user_cannot_make(net: Namespace, tmp_path: Path) -> None:
    directory = tmp_path / "a" / "it's here"
    config = write_config(tmp_path / "capd.toml", directory, "v0")
    assert refusal(net, config, AS_NOBODY) == [
        (
            f"storage.directory: cannot make {directory}: user nobody may not; "
            f"as root: install -d -m 750 -o nobody '{tmp_path}/a/it'\"'\"'s here'"
        )
    ]


def test_a_read_only_mount(net: Namespace, config: Path, directory: Path) -> None:
    prefix = mounted("-t", "tmpfs", "-oro,mode=750", "tmpfs", str(directory))
    assert refusal(net, config, prefix) == [
        (
            f"storage.directory: cannot create a file in {directory}: Read-only file system; "
            "mount its file system for writing"
        )
    ]


def test_the_mount_is_missing(net: Namespace, tmp_path: Path) -> None:
    directory = absent_on_root()
    config = write_config(
        tmp_path / "capd.toml", Path(directory) / "captures", "v0", storage="require_mount = true"
    )
    assert refusal(net, config) == [
        (
            f"storage.directory: cannot use {directory}/captures: it is on the root file system, "
            "and require_mount is set; mount its disk first"
        )
    ]
    assert not Path(directory).exists()


def test_the_mount_is_there(net: Namespace, config: Path, directory: Path) -> None:
    config.write_text(config.read_text().replace("[capture]", "require_mount = true\n[capture]"))
    prefix = mounted("-t", "tmpfs", "-omode=750", "tmpfs", str(directory))
    checked = check(net, config, prefix)
    assert checked.returncode == 0
    assert f"free for {directory} (mounted at {directory})" in " ".join(checked.stdout.split())
    assert "require_mount" not in checked.stderr


def test_a_mount_is_worth_requiring(net: Namespace, config: Path, directory: Path) -> None:
    prefix = mounted("-t", "tmpfs", "-omode=750", "tmpfs", str(directory))
    assert (
        f"{config}: warning: storage.directory: {directory} is on the disk mounted at {directory}; "
        "with require_mount = true capd does not fill the root disk when that is missing"
    ) in check(net, config, prefix).stderr.splitlines()


def test_a_full_disk_is_no_reason_to_refuse(net: Namespace, config: Path, directory: Path) -> None:
    """After a restart with a full disk capd counts what it loses, and goes on when there is room.

    The only inode of this file system is its root's.
    """
    prefix = mounted("-t", "tmpfs", "-omode=750,nr_inodes=1", "tmpfs", str(directory))
    checked = check(net, config, prefix)
    assert checked.returncode == 0
    assert (
        f"{config}: warning: storage.directory: the disk mounted at {directory} is full; "
        "packets will be lost"
    ) in checked.stderr.splitlines()


def test_writable_for_the_group(directory: Path) -> None:
    assert not any("its group may write" in doubt for doubt in doubts(directory))
    directory.chmod(0o770)
    check_directory(str(directory), require_mount=False)
    assert (
        f"storage.directory: its group may write to {directory}; run: chmod g-w {directory}"
    ) in doubts(directory)


def doubts(directory: Path) -> list[str]:
    return list(directory_doubts(str(directory), require_mount=False))


def test_all_that_is_made_goes_again_when_the_rest_cannot_be(tmp_path: Path) -> None:
    directory = tmp_path / "a" / ("x" * 300)
    with pytest.raises(StorageError, match=r"cannot make .*: File name too long"):
        check_directory(str(directory), require_mount=False, keep=False)
    assert list(tmp_path.iterdir()) == []


def test_mount_point(tmp_path: Path) -> None:
    """Of what is there and of what is not; a link is followed, as the file system would."""
    assert mount_point("/") == "/"
    assert mount_point("/proc/self/nothing/here") == "/proc"
    assert mount_point(absent_on_root()) == "/"
    link = tmp_path / "link"
    link.symlink_to("/proc")
    assert mount_point(f"{link}/x") == "/proc"
