"""What commands put on record about the people who run them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest

from capd.audit import who
from capd.events import Kind
from capd.journal import record
from tests.support.command import AS_NOBODY
from tests.support.journal import Journal
from tests.support.need import need, need_root

WHO = "from capd.audit import who; print(who())"


@pytest.mark.security("trail")
def test_it_is_in_the_journal(tmp_path: Path) -> None:
    """Wherever its own stderr goes, once the journal takes it; without a journal it goes on."""
    path = tmp_path / "journal"
    tell = partial(record, Kind.HOLD_MADE, "100 % held", journal=str(path), by="root")
    assert not tell()
    journal = Journal(path)
    assert tell()
    (message,) = journal.read()
    message.pop("CAPD_TIME")
    assert message == {
        "MESSAGE": "100 % held",
        "MESSAGE_ID": Kind.HOLD_MADE.message_id,
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "capd",
        "LOGGER": "capd",
        "CAPD_BY": "root",
    }
    while tell():  # until nothing more fits
        pass
    reader = threading.Timer(0.1, journal.read)
    reader.start()
    assert tell(), "it had to wait"
    reader.join()
    journal.close()


def asked(*prefix: str, **environment: str) -> str:
    """What a process of another user says of itself."""
    argv = [*prefix, sys.executable, "-c", WHO]
    clean = {name: value for name, value in os.environ.items() if name != "SUDO_USER"}
    done = subprocess.run(
        argv, env=clean | environment, capture_output=True, text=True, check=True, cwd="/"
    )
    return done.stdout.rstrip("\n")


@pytest.mark.security("trail")
def test_who_it_was() -> None:
    """The user; and for root, who called sudo, where the kernel knows of no login."""
    need_root()
    need("setpriv")
    ours = asked()
    assert ours == who()
    assert asked(*AS_NOBODY).endswith("nobody")
    if Path("/proc/self/loginuid").read_text() == str(2**32 - 1):
        assert ours == "root"
        assert asked(SUDO_USER="alice") == "alice as root"
        assert asked(SUDO_USER="a\x1b[2J") == "a\\x1b[2J as root"
        assert asked(*AS_NOBODY, SUDO_USER="alice") == "nobody"
