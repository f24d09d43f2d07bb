"""What a command is told of an event: its environment, and its standard input."""

from __future__ import annotations

import socket

from capd.spool import Event
from capd.units import format_time


def environment(event: Event) -> dict[str, str]:
    """The facts as a command's environment has them."""
    facts = {f"CAPD_{name.upper()}": value for name, value in event.facts.items()}
    return facts | {
        "CAPD_EVENT": event.kind,
        "CAPD_AT": format_time(event.at),
        "CAPD_HOST": socket.gethostname(),
        "CAPD_TEXT": event.text,
    }


def message(event: Event) -> str:
    """What a command gets to read: the body of a mail."""
    lines = [f"capd on {socket.gethostname()}: {event.text}", ""]
    lines += [f"{name:<10} {value}" for name, value in event.facts.items()]
    return "\n".join([*lines, f"{'told':<10} {format_time(event.at)}", ""])
