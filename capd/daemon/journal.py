"""How the daemon speaks: one call for every message, to the journal or to the terminal.

Where stderr is the journal, a message goes there with its MESSAGE_ID and its facts as fields;
elsewhere the same line goes to stderr.  What the kinds of message are is in `events`.
"""

from __future__ import annotations

import logging
import os

from rich.console import Console
from rich.logging import RichHandler
from systemd.journal import JournalHandler

from capd.events import Kind
from capd.losses import Loss, describe
from capd.units import format_time

IDENTIFIER = "capd"

_log = logging.getLogger("capd")
_LEVELS = {"info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


def set_up(console: Console | None = None) -> None:
    """Send what is told to where it is read; above the live table of `console`, if it has one."""
    handler: logging.Handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(message)s"))
    if _stderr_is_journal():
        handler = JournalHandler(SYSLOG_IDENTIFIER=IDENTIFIER)
    elif console is not None and console.is_terminal:
        handler = RichHandler(console=console, show_path=False)
        handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def tell(kind: Kind, text: str, *, interface: str = "", **facts: str | int) -> None:
    """Say it, with the facts in it as fields CAPD_*."""
    fields = {f"CAPD_{name.upper()}": str(value) for name, value in facts.items()}
    if interface:
        fields["CAPD_INTERFACE"] = interface
        text = f"{interface}: {text}"
    fields["MESSAGE_ID"] = kind.message_id
    _log.log(_LEVELS[kind.level], "%s", text, extra=fields)


def tell_loss(loss: Loss) -> None:
    """Say what is missing, and put it on record."""
    tell(
        Kind.GAP if loss.stage == "link" else Kind.LOSS,
        describe(loss),
        interface=loss.interface,
        stage=loss.stage,
        since=format_time(loss.since),
        until="unknown" if loss.until is None else format_time(loss.until),
        packets="unknown" if loss.packets is None else loss.packets,
        at_most="yes" if loss.at_most else "no",
        cause=loss.cause,
    )


def _stderr_is_journal() -> bool:
    """Whether $JOURNAL_STREAM names the file that stderr is (systemd.exec(5))."""
    status = os.fstat(2)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
