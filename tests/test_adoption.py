"""What systemd kept and nobody can use: said, and let go; capd starts all the same."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.net import Namespace
from tests.support.recorder import CAPD, write_config

GARBAGE = b"not what it should be"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["ring/v1/7/262144x16x20", "memory/v1/7"], ["a ring is let go with what was in it: "]),
        (["ring/v1/7/262144x16x20"], ["there are 0 descriptors of its memory"]),
        (["memory/v1/7"], ["there are 0 descriptors of its ring"]),
        (["ring/v1/7/a", "ring/v1/7/b", "memory/v1/7"], ["there are 2 descriptors of its ring"]),
        (["ring/v0/7/a", "memory/v0/7"], ["was kept by another version of capd"]),
        (["ring/v1/7/a", "memory/v1/7", "ring/v1/8/a", "memory/v1/8"], ["let go", "let go"]),
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


def heard(manager: socket.socket) -> list[str]:
    """All that systemd was told."""
    texts = []
    try:
        while True:
            texts.append(manager.recv(65536).decode())
    except BlockingIOError:
        manager.close()
        return texts
