"""`capd alert --test`: an event like an alert's, and what became of it."""

from __future__ import annotations

import os
import time
from typing import NamedTuple

from capd.config import load
from capd.errors import ConfigError, StorageError
from capd.spool import Event, Spool, now
from capd.units import printable

TAKEN_WITHIN = 10.0  # seconds


class Outcome(NamedTuple):
    """In words, and whether somebody was told."""

    text: str
    delivered: bool


def attempt(config: str, runtime: str) -> Outcome:
    """Leave a test event and wait for what becomes of it.  ConfigError, StorageError."""
    alert = load(config).alert
    if alert.command is None:
        raise ConfigError((f"{config}: alert.command: is not set: nobody would be told",))
    _look_for_daemon(runtime)
    spool = Spool(runtime)
    text = "this is a test of the alerts, nothing was lost"
    name = spool.put(Event("test", now(), text, {"packets": "0"}, answer=True))
    taken_at = time.monotonic()
    try:
        while time.monotonic() - taken_at < TAKEN_WITHIN:
            result = spool.result(name)
            if result is not None:
                return _told(result)
            if spool.is_taken:  # perhaps those before it are dealt with
                taken_at = time.monotonic()
            time.sleep(0.1)
    finally:
        spool.remove(name)
    return Outcome(
        f"nobody takes events from {spool.events}; see: systemctl status capd-exec.path",
        delivered=False,
    )


def _look_for_daemon(runtime: str) -> None:
    status = f"{runtime}/status.json"
    try:
        os.stat(status)
    except PermissionError as error:
        text = f"cannot look into {runtime}; only root and the user that capd runs as may"
        raise StorageError(text) from error
    except OSError as error:
        raise StorageError(f"capd does not run: no {status}; systemctl start capd") from error


def _told(result: dict[str, object]) -> Outcome:
    # capd may write results, and root reads them on its terminal
    how = printable(str(result.get("how")))
    said = "\n".join(map(printable, str(result.get("output", "")).splitlines()))
    output = f"\n{said}" if said else ""
    if result.get("done"):
        return Outcome(f"delivered {how}{output}", delivered=True)
    return Outcome(f"not delivered: {how}{output}", delivered=False)
