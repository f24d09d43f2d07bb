"""What systemd kept: rings to go on with; what nobody can use is let go, and capd starts."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pytest

from capd.daemon import keepsake
from capd.daemon.keepsake import Keepsake
from capd.daemon.ringplan import RingPlan
from capd.ring import Geometry, cookie, open_ring
from tests.support import judge
from tests.support.frames import IMIX, Stream
from tests.support.load import STREAM
from tests.support.net import Namespace, inside
from tests.support.recorder import CAPD, Recorder, parts, segments, write_config
from tests.support.workers import EVERYTHING, LONG, SHAPE, SOCKET_ROOM, plan
from tests.support.xdp import FrameSource

COUNT = 2000  # frames
GARBAGE = b"not what it should be"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["ring/v2/7/262144x16x20", "memory/v2/7"], ["a ring is let go with what was in it: "]),
        (["ring/v2/7/262144x16x20"], ["there are 0 descriptors of its memory"]),
        (["memory/v2/7"], ["there are 0 descriptors of its ring"]),
        (["ring/v2/7/a", "ring/v2/7/b", "memory/v2/7"], ["there are 2 descriptors of its ring"]),
        (["ring/v0/7/a", "memory/v0/7"], ["was kept by another version of capd"]),
        (["ring/v2/7/a", "memory/v2/7", "ring/v2/8/a", "memory/v2/8"], ["let go", "let go"]),
        (["stored", "ring", "memory/"], []),
    ],
)
def test_what_cannot_be_used_is_let_go(
    net: Namespace, tmp_path: Path, names: list[str], told: list[str]
) -> None:
    config = write_config(tmp_path / "capd.toml", tmp_path, "absent0")
    (tmp_path / "garbage").write_bytes(GARBAGE)
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    manager.bind(str(tmp_path / "manager"))
    fds = " ".join(f"{fd}<{tmp_path}/garbage" for fd in range(3, 3 + len(names)))
    script = f'exec {fds}; LISTEN_PID=$$ exec "$@"'
    environment = os.environ | {
        "LISTEN_FDS": str(len(names)),
        "LISTEN_FDNAMES": ":".join(names),
        "NOTIFY_SOCKET": str(tmp_path / "manager"),
        "RUNTIME_DIRECTORY": str(tmp_path / "run"),
    }
    argv = ["sh", "-c", script, "sh", str(CAPD), "run", "--keep-rings", "--seconds", "0.1"]
    done = subprocess.run(
        ["ip", "netns", "exec", net.name, *argv, "--config", str(config)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stderr.splitlines() if " ERROR " in line]
    assert len(lines) == len(told)
    for line, text in zip(lines, told, strict=True):
        assert text in line
    assert "Traceback" not in done.stderr
    removed = [text.split("FDNAME=")[1] for text in heard(manager) if "FDSTOREREMOVE" in text]
    assert sorted(removed) == sorted(names)


@pytest.mark.parametrize("made_again", [False, True], ids=["same link", "link made again"])
def test_a_daemon_that_died_between_two_rings(
    net: Namespace, tmp_path: Path, made_again: bool
) -> None:
    """The second was kept already, the first not told yet: each packet is there once."""
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture='ring_size = "8MiB"')
    index = net.add_veth("v0", "v1")
    first = kept_ring(net, tmp_path, index, SHAPE)
    with FrameSource(STREAM, index, net.name) as source:
        source.inject(COUNT)
    if made_again:
        net.delete_link("v0")
        index = net.add_veth("v0", "v1")
    second = kept_ring(net, tmp_path, index, SHAPE._replace(blocks=64))
    with FrameSource(Stream(IMIX, first=COUNT), index, net.name) as source:
        source.inject(COUNT)
        with Recorder(net, config, kept=first | second) as capd:
            for fd in (first | second).values():
                os.close(fd)
            capd.wait_line("capd records 1 interface")
            source.inject(COUNT)
            assert capd.stop() == 0
    found = segments(tmp_path, "v0")
    judge.check_numbers(found, STREAM, 3 * COUNT)
    assert parts(tmp_path, "v0") == []


def test_a_filter_for_which_the_socket_has_no_room_again(net: Namespace, tmp_path: Path) -> None:
    """It is in force already: the ring is gone on with."""
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture='ring_size = "8MiB"')
    index = net.add_veth("v0", "v1")
    net.run(["sysctl", "-q", SOCKET_ROOM], check=False)  # where it is no namespace's it is so
    kept = kept_ring(net, tmp_path, index, SHAPE, LONG)
    with FrameSource(STREAM, index, net.name) as source:
        source.inject(COUNT)
        with Recorder(net, config, kept=kept) as capd:
            for fd in kept.values():
                os.close(fd)
            capd.wait_line("capd records 1 interface")
            source.inject(COUNT)
            assert capd.stop() == 0
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, 2 * COUNT)


def test_the_directory_of_a_ring_without_a_config(net: Namespace, tmp_path: Path) -> None:
    """It is written to, so no other daemon may have it, though no file says so."""
    config = tmp_path / "capd.toml"
    config.write_text("[storage\n")
    kept = kept_ring(net, tmp_path / "captures", net.add_veth("v0", "v1"), SHAPE)
    (tmp_path / "captures").mkdir()
    with Recorder(net, config, kept=kept) as capd:
        for fd in kept.values():
            os.close(fd)
        capd.wait_line("capd records 1 interface")
        other = write_config(tmp_path / "other.toml", tmp_path / "captures", "v1")
        with Recorder(net, other) as second:
            assert second.wait() == 2
        second.wait_line("another capd records into it")
        assert capd.stop() == 0


def test_a_manager_that_does_not_listen_at_first(net: Namespace, tmp_path: Path) -> None:
    """It is asked again to keep the ring and its memory, until it has heard of both."""
    net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture='ring_size = "8MiB"')
    words = ("env", f"NOTIFY_SOCKET={tmp_path}/manager")
    with Recorder(net, config, words) as capd:
        capd.wait_line("capd records 1 interface")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(20)
            manager.bind(str(tmp_path / "manager"))
            told = [manager.recv(65536).decode() for _ in range(6)]  # of two seconds
        stored = [text.partition("FDNAME=")[2] for text in told if text.startswith("FDSTORE=1")]
        assert sorted(name.partition("/")[0] for name in stored) == ["memory", "ring"]
        assert capd.stop() == 0


def test_a_manager_that_does_not_listen_when_a_ring_ends(net: Namespace, tmp_path: Path) -> None:
    """It is told again to let it go, or the ring would hold its memory for as long as capd runs."""
    net.add_veth("v0", "v1")
    config = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture='ring_size = "8MiB"')
    words = ("env", f"NOTIFY_SOCKET={tmp_path}/manager")
    with Recorder(net, config, words) as capd:
        capd.wait_line("capd records 1 interface")
        net.delete_link("v0")
        capd.wait_line("v0: received 0")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(20)
            manager.bind(str(tmp_path / "manager"))
            told = [manager.recv(65536).decode() for _ in range(6)]  # of two seconds
        gone = [text.partition("FDNAME=")[2] for text in told if "FDSTOREREMOVE" in text]
        assert sorted(name.partition("/")[0] for name in gone) == ["memory", "ring"]
        assert capd.stop() == 0


def kept_ring(
    net: Namespace, directory: Path, index: int, shape: Geometry, program: bytes = EVERYTHING
) -> dict[str, int]:
    """A ring on v0 that nobody drains yet, and its memory, by the names that systemd has."""
    with inside(net.name):
        sock = open_ring("v0", shape, program, promiscuous=False)
    memory = keepsake.make_memory("capd-test")
    wanted = RingPlan(plan(directory, shape), index, program, promiscuous=False, entry="v0")
    keepsake.write(memory, Keepsake(wanted, born=time.time_ns()))
    names = keepsake.stored_names(cookie(sock), shape)
    return dict(zip(names, (sock.detach(), memory), strict=True))


def heard(manager: socket.socket) -> list[str]:
    """All that systemd was told."""
    texts = []
    try:
        while True:
            texts.append(manager.recv(65536).decode())
    except BlockingIOError:
        manager.close()
        return texts
