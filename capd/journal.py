"""How the daemon speaks: one call for every message, to the journal or to the terminal.

Where stderr is the journal, a message goes there with its MESSAGE_ID and its facts as fields;
elsewhere the same line goes to stderr.  What the kinds of message are is in `events`.

The journal is spoken to in its own protocol, over a socket that never waits: sd_journal_send,
which systemd-python's handler calls, waits for a journald that is stuck, and holds the
interpreter's lock meanwhile, so that the daemon would stand still with it, threads and all.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import time
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING

from capd.events import Kind
from capd.losses import Loss, describe
from capd.units import format_count, format_time, readable

if TYPE_CHECKING:
    from rich.console import Console

IDENTIFIER = "capd"
SOCKET = "/run/systemd/journal/socket"
HELD = 1000  # messages that wait for a journal that does not take them
PATIENCE = 1.0  # seconds that a command waits for a journal that is busy
LONGEST = 32 * 1024  # bytes of one field: several of these fit into a datagram

_log = logging.getLogger("capd")
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# Of syslog(3), for the levels of logging from here on.
_PRIORITIES = ((logging.ERROR, "3"), (logging.WARNING, "4"), (logging.INFO, "6"), (0, "7"))
_CUT = b" ... (cut)"


def set_up(console: Console | None = None) -> None:
    """Send what is told to where it is read; above the live table of `console`, if it has one."""
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(_Lines("%(asctime)s %(levelname)-7s %(message)s"))
    if is_heard():
        handler = JournalHandler()
    elif console is not None and console.is_terminal:
        from rich.logging import RichHandler  # noqa: PLC0415  a service does not wait for it

        handler = RichHandler(console=console, show_path=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class _Lines(logging.Formatter):
    """Only a message begins at the margin: no text in one looks like another."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", "\n    ")


def tell(kind: Kind, text: str, *, interface: str = "", **facts: str | int) -> None:
    """Say it, with the facts in it as fields CAPD_*.

    There may be in it what others have called things, or what a command has said.
    """
    text = readable(text)
    if interface:
        facts["interface"] = interface
        text = f"{interface}: {text}"
    _log.log(_LEVELS[kind.level], "%s", text, extra=_facts(kind, facts))


def record(kind: Kind, text: str, *, journal: str = SOCKET, **facts: str | int) -> bool:
    """Tell the journal, wherever stderr goes: for a command that somebody is to answer for.

    Gives whether it took it within PATIENCE; where there is no journal, nothing else happens.
    Whose process this is it knows by itself (_UID, _AUDIT_LOGINUID).
    """
    extra = _facts(kind, facts)
    made = _log.makeRecord(_log.name, _LEVELS[kind.level], "", 0, text, (), None, extra=extra)
    handler = JournalHandler(journal)
    try:
        handler.emit(made)
        end = time.monotonic() + PATIENCE
        while handler.waits and os.path.exists(journal) and time.monotonic() < end:
            time.sleep(0.02)
            handler.flush()
        return not handler.waits
    finally:
        handler.close()


def _facts(kind: Kind, facts: Mapping[str, str | int]) -> dict[str, str]:
    """As fields of the journal."""
    fields = {f"CAPD_{name.upper()}": str(value) for name, value in facts.items()}
    return fields | {"MESSAGE_ID": kind.message_id}


def tell_loss(loss: Loss) -> None:
    """Say what is missing, and put it on record."""
    facts = {
        "stage": loss.stage,
        "from": format_time(loss.since),
        "to": "unknown" if loss.until is None else format_time(loss.until),
        "packets": "unknown" if loss.packets is None else str(loss.packets),
        "at_most": "yes" if loss.at_most else "no",
        "cause": loss.cause,
        "change": loss.change or "none",
    }
    kind = Kind.GAP if loss.stage == "link" else Kind.LOSS
    tell(kind, describe(loss), interface=loss.whose, **facts)


def catch_up() -> None:
    """Say what the journal did not take when it was told; nothing to do, nearly always."""
    for handler in logging.getLogger().handlers:
        handler.flush()


class JournalHandler(logging.Handler):
    """To the journal, without ever waiting for it.

    What it does not take waits for the next message or `flush`, in order and up to HELD
    messages; beyond that they are given up and counted, and the number is told.
    """

    def __init__(self, path: str = SOCKET) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s"))  # or basicConfig sets another
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._held: deque[bytes] = deque()
        self._unsaid = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Send it, after all that waits."""
        try:
            message = encode(_fields(record) | {"MESSAGE": self.format(record)})
        except (TypeError, ValueError):  # its arguments do not fit its format
            self.handleError(record)
            return
        self.flush()
        if len(self._held) >= HELD or self._unsaid:
            self._unsaid += 1
        elif self._held or not self._send(message):
            self._held.append(message)

    def flush(self) -> None:
        """Send what waits, as far as the journal takes it."""
        self.acquire()
        try:
            while self._held and self._send(self._held[0]):
                self._held.popleft()
            if self._unsaid and not self._held and self._send(_unsaid(self._unsaid)):
                self._unsaid = 0
        finally:
            self.release()

    @property
    def waits(self) -> bool:
        """Whether there is something that the journal has not taken yet."""
        return bool(self._held)

    def close(self) -> None:
        """Let the socket go."""
        self._socket.close()
        super().close()

    def _send(self, message: bytes) -> bool:
        """Whether it need not wait: the journal has it, or never can."""
        try:
            self._socket.sendto(message, self._path)
        except OSError as error:  # full, or not there: journald is restarted, or yet to begin
            if error.errno != errno.EMSGSIZE:
                return False
            self._unsaid += 1
        return True


def encode(fields: dict[str, str]) -> bytes:
    """A message in journald's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    lines = []
    for name, text in fields.items():
        value = text.encode(errors="backslashreplace")
        if len(value) > LONGEST:
            value = value[:LONGEST].decode(errors="ignore").encode() + _CUT
        if b"\n" in value:
            lines.append(b"%s\n%s%s\n" % (name.encode(), len(value).to_bytes(8, "little"), value))
        else:
            lines.append(b"%s=%s\n" % (name.encode(), value))
    return b"".join(lines)


def _fields(record: logging.LogRecord) -> dict[str, str]:
    """What the journal is to know of a record besides its text."""
    own = {name: str(value) for name, value in vars(record).items() if name.isupper()}
    return own | {
        "PRIORITY": next(number for level, number in _PRIORITIES if record.levelno >= level),
        "SYSLOG_IDENTIFIER": IDENTIFIER,
        "LOGGER": record.name,
        "CAPD_TIME": format_time(int(record.created * 10**6) * 10**3),  # it may have to wait
    }


def _unsaid(count: int) -> bytes:
    kind = Kind.UNSAID
    text = f"{format_count(count)} messages are not here: the journal took none for a while"
    return encode(
        {
            "MESSAGE": text,
            "MESSAGE_ID": kind.message_id,
            "PRIORITY": dict(_PRIORITIES)[_LEVELS[kind.level]],
            "SYSLOG_IDENTIFIER": IDENTIFIER,
            "CAPD_MESSAGES": str(count),
        }
    )


def is_heard() -> bool:
    """Whether stderr goes to the journal: $JOURNAL_STREAM names its file (systemd.exec(5))."""
    try:
        status = os.fstat(2)
    except OSError:  # there is no stderr
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
