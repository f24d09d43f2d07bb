"""How messages reach the journal and the terminal, and that neither holds up the daemon."""

from __future__ import annotations

import json
import logging
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capd.events import Kind
from capd.journal import HELD, LONGEST, JournalHandler, catch_up, tell, tell_loss
from capd.losses import Loss, describe
from capd.units import SECOND
from tests.support.journal import Journal
from tests.support.need import need, need_root

ROOT = Path(__file__).resolve().parent.parent
JOURNALD = "/lib/systemd/systemd-journald"
TIMEOUT = 20.0  # seconds
NOON = 1_763_985_600 * SECOND  # on DAY, UTC
DAY = "2025-11-24"


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """Where the journal listens, or will; what is told goes there."""
    path = tmp_path / "journal"
    with _speaking_to(path):
        yield path


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """One that listens."""
    journal = Journal(path)
    yield journal
    journal.close()


@contextmanager
def _speaking_to(path: Path) -> Iterator[None]:
    handler, log = JournalHandler(str(path)), logging.getLogger()
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()


def test_message_has_its_fields(journal: Journal) -> None:
    """What the catalog and programs look for, all of it text."""
    tell(Kind.WENT_ON, "goes on", interface="v0", block=7, pause_ms=12)
    (message,) = journal.read()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", message.pop("CAPD_TIME"))
    assert message == {
        "MESSAGE": "v0: goes on",
        "MESSAGE_ID": Kind.WENT_ON.message_id,
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "capd",
        "LOGGER": "capd",
        "CAPD_INTERFACE": "v0",
        "CAPD_BLOCK": "7",
        "CAPD_PAUSE_MS": "12",
    }


def test_priority_is_that_of_the_kind(journal: Journal) -> None:
    """`journalctl -p warning` finds what needs somebody."""
    priorities = {"info": "6", "warning": "4", "error": "3"}
    for kind in Kind:
        tell(kind, "text")
        (message,) = journal.read()
        assert message["MESSAGE_ID"] == kind.message_id
        assert message["PRIORITY"] == priorities[kind.level]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("two\nlines\n", "two\nlines\n"),
        ("a = b", "a = b"),
        ("", ""),
        ("100 %s of them", "100 %s of them"),
        ("r\N{LATIN SMALL LETTER E WITH ACUTE}seau", "r\N{LATIN SMALL LETTER E WITH ACUTE}seau"),
        ("not UTF-8: \udce9", "not UTF-8: \\udce9"),
        ("x" * LONGEST, "x" * LONGEST),
        ("x" * LONGEST + "y", "x" * LONGEST + " ... (cut)"),
        ("x" + "\N{EURO SIGN}" * LONGEST, None),
    ],
    ids=range(9),
)
def test_any_text_arrives(journal: Journal, text: str, shown: str | None) -> None:
    """As text and as a fact; what is too long is cut, and says so."""
    tell(Kind.DOUBT, text, fact=text)
    (message,) = journal.read()
    assert message["MESSAGE"] == message["CAPD_FACT"]
    if shown is not None:
        assert message["MESSAGE"] == shown
    else:
        assert text.startswith(message["MESSAGE"].removesuffix(" ... (cut)"))
        assert LONGEST - 3 < len(message["MESSAGE"].encode()) - len(" ... (cut)") <= LONGEST


def test_errors_of_libraries_arrive(journal: Journal) -> None:
    """With their trace, and under their own name."""
    try:
        raise ValueError("some reason")
    except ValueError:
        logging.getLogger("asyncio").exception("a task failed")
    (message,) = journal.read()
    assert (message["LOGGER"], message["PRIORITY"]) == ("asyncio", "3")
    assert message["MESSAGE"].startswith("a task failed\nTraceback")
    assert message["MESSAGE"].endswith("ValueError: some reason")


RING = Loss("v0", "ring", NOON + SECOND // 4, NOON + 3 * SECOND, 1234, "it was full")
LINK = Loss("v0", "link", NOON, NOON + 4_200_000_000, None, "it was deleted")


@pytest.mark.parametrize(
    ("loss", "kind", "facts"),
    [
        (RING, Kind.LOSS, ["ring", "12:00:00.250000000Z", "12:00:03.000000000Z", "1234", "no"]),
        (LINK, Kind.GAP, ["link", "12:00:00.000000000Z", "12:00:04.200000000Z", "unknown", "no"]),
        (
            Loss("v0", "disk", NOON, None, 7, "full", at_most=True),
            Kind.LOSS,
            ["disk", "12:00:00.000000000Z", "unknown", "7", "yes"],
        ),
    ],
)
def test_loss_is_told_with_its_fields(
    journal: Journal, loss: Loss, kind: Kind, facts: list[str]
) -> None:
    """Instants to the nanosecond; what nobody knows is said to be unknown."""
    tell_loss(loss)
    (message,) = journal.read()
    fields = ("STAGE", "FROM", "TO", "PACKETS", "AT_MOST")
    assert [message[f"CAPD_{name}"].removeprefix(f"{DAY}T") for name in fields] == facts
    assert message["MESSAGE_ID"] == kind.message_id
    assert message["CAPD_CAUSE"] == loss.cause
    assert message["MESSAGE"] == f"v0: {describe(loss)}"


def test_journal_that_is_stuck_holds_nobody_up(path: Path, journal: Journal) -> None:
    """What it did not take comes in order when it does, and then the number of what is missing."""
    count = 2 * HELD
    done = threading.Event()

    def talk() -> None:
        for number in range(count):
            tell(Kind.DOUBT, str(number))
        done.set()

    threading.Thread(target=talk, daemon=True).start()
    assert done.wait(TIMEOUT)
    messages = journal.read()
    last = messages.pop()
    assert [message["MESSAGE"] for message in messages] == [str(n) for n in range(len(messages))]
    assert len(messages) > HELD
    assert last["MESSAGE_ID"] == Kind.UNSAID.message_id
    assert last["CAPD_MESSAGES"] == str(count - len(messages))
    tell(Kind.DOUBT, "as before")
    assert [message["MESSAGE"] for message in journal.read()] == ["as before"]


def test_journal_that_is_restarted_misses_nothing(path: Path) -> None:
    """Nor does one that begins late."""
    tell(Kind.DOUBT, "1")
    journal = Journal(path)
    tell(Kind.DOUBT, "2")
    assert [message["MESSAGE"] for message in journal.read()] == ["1", "2"]
    journal.close()
    tell(Kind.DOUBT, "3")
    path.unlink()
    tell(Kind.DOUBT, "4")
    journal = Journal(path)
    catch_up()
    assert [message["MESSAGE"] for message in journal.read()] == ["3", "4"]
    journal.close()


def test_message_that_fits_nowhere_holds_nothing_up(journal: Journal) -> None:
    """It is counted; the next one comes."""
    tell(Kind.DOUBT, "too many facts", **{f"fact{n}": "x" * LONGEST for n in range(20)})
    tell(Kind.DOUBT, "next")
    tell(Kind.DOUBT, "last")
    found = [(one["MESSAGE"], one.get("CAPD_MESSAGES")) for one in journal.read()]
    assert found[0][1] is not None
    assert int(found[0][1]) + len(found) - 1 == 3
    assert found[-1] == ("last", None)


SPEAK = """
from capd import journal
from capd.events import Kind
journal.set_up()
journal.tell(Kind.WORKER_DIED, "its worker died", interface="v0", worker=5)
"""


def _child(program: str, redirect: str = "", **environment: str) -> str:
    """What a child says on stderr."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -c "$1" {redirect}', sys.executable, program],
        cwd=ROOT,
        env=os.environ | environment,
        stderr=subprocess.PIPE,
        text=True,
        timeout=TIMEOUT,
        check=True,
    )
    return done.stderr


@pytest.mark.parametrize("stream", ["", "1:2", "nonsense"])
def test_elsewhere_the_line_goes_to_stderr(stream: str) -> None:
    """Also where stdout alone is the journal's, or was before a redirection."""
    text = _child(SPEAK, JOURNAL_STREAM=stream)
    assert re.fullmatch(r"[-0-9]+ [0-9:,]+ ERROR   v0: its worker died\n", text)


def test_without_stderr_nothing_fails() -> None:
    """There is nobody to read it."""
    assert _child(SPEAK, "2>&-") == ""


def test_terminal_of_a_live_table_has_the_line() -> None:
    """Where the table's own console puts it above the table."""
    program = SPEAK.replace(
        "journal.set_up()",
        "from rich.console import Console\n"
        "journal.set_up(Console(stderr=True, force_terminal=True, width=100))",
    )
    text = re.sub(r"\x1b\[[0-9;]*m", "", _child(program))
    assert re.search(r"\[[^]]+\] ERROR +v0: its worker died", text)


def test_it_imports_nothing_big() -> None:
    """A daemon that is started again has no time for it."""
    done = _child("import sys\n" + SPEAK + "sys.stderr.write(' '.join(sys.modules))")
    loaded = {name.split(".")[0] for name in done.split("\n")[-1].split()}
    assert "logging" in loaded
    assert not loaded & {"asyncio", "pyroute2", "pydantic", "rich", "systemd"}


# In namespaces of its own, which end with it: a journald, capd's catalog, and a child under both.
REAL = r"""
mount -t tmpfs none /run && mount -t tmpfs none /var/lib/systemd || exit 1
mkdir -p /run/log/journal /run/systemd/journald.conf.d /run/root/usr/lib/systemd/catalog
printf '[Journal]\nAudit=\nReadKMsg=no\n' >/run/systemd/journald.conf.d/test.conf
cp "$2/systemd/capd.catalog" /run/root/usr/lib/systemd/catalog/
journalctl --update-catalog --root=/run/root || exit 1
mv /run/root/var/lib/systemd/catalog /var/lib/systemd/
"$3" 2>/run/journald.txt &
for _ in $(seq 200); do [ -S /run/systemd/journal/stdout ] && break; sleep 0.05; done
stream='JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2) exec "$0" -c "$1"'  # as systemd does
systemd-cat sh -c "$stream" "$0" "$1" || exit 1
find() { journalctl -q -D /run/log/journal CAPD_INTERFACE=v0 "$@"; }
for _ in $(seq 200); do find -o json | grep -q . && break; sleep 0.05; done
find -o json
find -x
cat /run/journald.txt >&2
"""


def test_real_journal_knows_and_explains_a_message() -> None:
    """Through journald, found by a field, and by `journalctl -x` put in words."""
    need("unshare", "mount", "journalctl", "systemd-cat")
    need_root()
    if not os.access(JOURNALD, os.X_OK):
        pytest.skip(f"not installed: {JOURNALD}")
    apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    done = subprocess.run(
        [*apart, "sh", "-c", REAL, sys.executable, SPEAK, ROOT, JOURNALD],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"]},  # journald takes $RUNTIME_DIRECTORY for its own
        capture_output=True,
        text=True,
        timeout=3 * TIMEOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, _, explained = done.stdout.partition("\n")
    message = json.loads(first)
    assert message["MESSAGE"] == "v0: its worker died"
    assert message["MESSAGE_ID"] == Kind.WORKER_DIED.message_id
    assert (message["PRIORITY"], message["SYSLOG_IDENTIFIER"]) == ("3", "capd")
    assert (message["_TRANSPORT"], message["CAPD_WORKER"]) == ("journal", "5")
    assert "Subject: The worker of v0 died" in explained
    assert re.search(r"\(it was process\s+\W*5\)", explained)
