"""Orders to a running daemon: one line of JSON there, one line back, on a UNIX socket.

This is the format and the client; `daemon.control` is the server.
"""

from __future__ import annotations

import json
import socket
import subprocess
from dataclasses import dataclass

from capd.errors import StorageError, WorkerError

MAX_REQUEST = 4096  # bytes
MAX_ANSWER = 1024 * 1024
TIMEOUT = 120.0  # seconds


@dataclass(frozen=True)
class Answer:
    """What became of an order."""

    done: bool
    lines: tuple[str, ...] = ()  # what changed, or every reason why nothing did


def encode_request(order: str) -> bytes:
    """An order as it is sent."""
    return json.dumps({"order": order}).encode() + b"\n"


def decode_request(line: bytes) -> str | None:
    """The order in a line; None if it is not one."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    order = fields.get("order") if isinstance(fields, dict) else None
    return order if isinstance(order, str) else None


def encode_answer(answer: Answer) -> bytes:
    """An answer as it is sent."""
    return json.dumps({"done": answer.done, "lines": answer.lines}).encode() + b"\n"


def ask(path: str, order: str, timeout: float = TIMEOUT) -> Answer:
    """Give an order to the daemon that listens at `path`, and wait for what becomes of it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(timeout)
        try:
            sock.connect(path)
            sock.sendall(encode_request(order))
            text = _line(sock)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise StorageError(
                f"capd does not run: nobody listens at {path}; start it: systemctl start capd"
            ) from error
        except PermissionError as error:
            raise StorageError(
                f"cannot reach capd at {path}: only root and members of the group capd may"
            ) from error
        except TimeoutError as error:
            raise WorkerError(
                f"capd did not answer within {timeout:g} s; see: journalctl -u capd"
            ) from error
        except OSError as error:
            raise WorkerError(f"cannot reach capd at {path}: {error.strerror or error}") from error
    try:
        fields = json.loads(text)
        return Answer(bool(fields["done"]), tuple(map(str, fields["lines"])))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise WorkerError(
            "capd ended the connection without an answer; see: journalctl -u capd"
        ) from error


def is_stopping(unit: str) -> bool:
    """Whether systemd has been asked to stop this unit, rather than to restart it.

    What cannot be known counts as a restart: a ring that is kept in vain costs memory, one
    that is drained in vain costs packets.
    """
    argv = ["systemctl", "list-jobs", "--no-legend", "--plain"]
    try:
        run = subprocess.run(argv, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return False
    jobs = [line.split() for line in run.stdout.splitlines()]
    return any(job[1:3] == [unit, "stop"] for job in jobs)


def _line(sock: socket.socket) -> bytes:
    text = b""
    while not text.endswith(b"\n") and len(text) < MAX_ANSWER:
        received = sock.recv(65536)
        if not received:
            break
        text += received
    return text
