"""`capd losses`: the table, the sums, the plot and the samples; where nothing was lost, too."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest

from capd.daemon import ledger_folder
from capd.daemon.ledger_folder import Place
from capd.ledger import RECORDS, RECORDS_BEFORE, samples_name
from capd.losses import Loss, encode
from capd.names import LEDGER_FOLDER
from capd.units import SECOND, format_time
from tests.support.recorder import CAPD, write_config

NOON = 1_763_985_600 * SECOND  # 2025-11-24 12:00:00 UTC
DAY = ("--since", "2025-11-24", "--until", "2025-11-25")
SAMPLES = samples_name("eth0", "ring", NOON)
LOSSES = [
    Loss(
        *("eth0", "ring", NOON, NOON + 3_200_000_000, 12_345, "its ring of 4 MiB was full"),
        change='ring_size = "64MiB"',
        samples=SAMPLES,
    ),
    Loss("eth0", "ring", NOON + 3600 * SECOND, NOON + 3601 * SECOND, 5, "its ring was full"),
    Loss("eth0", "link", NOON + 4 * 3600 * SECOND, NOON + 7 * 3600 * SECOND, None, "no carrier"),
    Loss("", "backlog", NOON - SECOND, NOON, 70, "a queue was full", at_most=True),
    Loss("w0", "disk", NOON + SECOND // 4, NOON + 2 * SECOND, None, "the disk\x1b[2J was late"),
    Loss("eth0", "ring", NOON - 30 * 3600 * SECOND, NOON - 29 * 3600 * SECOND, 9, "yesterday's"),
]

PLAIN = """\
losses from 2025-11-24 00:00:00 to 2025-11-25 00:00:00 UTC
from (UTC)                lasted  interface  stage    packets  cause                       what to change
2025-11-24T11:59:59.000Z   1.0 s  (machine)  backlog    <= 70  a queue was full
2025-11-24T12:00:00.000Z   3.2 s  eth0       ring      12,345  its ring of 4 MiB was full  ring_size = "64MiB"
2025-11-24T12:00:00.250Z   1.8 s  w0         disk     unknown  the disk\\x1b[2J was late
2025-11-24T13:00:00.000Z   1.0 s  eth0       ring           5  its ring was full
2025-11-24T16:00:00.000Z     3 h  eth0       link           -  no carrier

stage    records  packets  lasted
backlog        1    <= 70   1.0 s
link           1        -     3 h
ring           2   12,350   4.2 s
disk           1  unknown   1.8 s
"""  # noqa: E501  that is what it looks like
FANCY = """\
losses from 2025-11-24 00:00:00 to 2025-11-25 00:00:00 UTC
from (UTC)    lasted  interface  stage    packets  cause
─────────────────────────────────────────────────────────────────────────────
2025-11-24
11:59:59.000   1.0 s  (machine)  backlog     ≤ 70  a queue was full
12:00:00.000   3.2 s  eth0       ring      12,345  its ring of 4 MiB was full
                                                   → ring_size = "64MiB"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    directory = tmp_path / "captures"
    directory.mkdir()
    with ledger_folder.opened(Place(str(directory), require_mount=False)) as folder:
        folder.append(LOSSES)
        samples = [
            {"at": NOON + at * SECOND // 10, "waiting": at, "psi": {"io": 0.5}, "late": at > 15}
            for at in range(20)
        ]
        folder.save(SAMPLES, samples)
    return write_config(tmp_path / "capd.toml", directory, "eth0")


def ask(config: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [str(CAPD), "losses", "--config", str(config), *words]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def on_a_terminal(config: Path, columns: int, *words: str, **environment: str) -> str:
    """What a person sees there, with its escape sequences."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    argv = [str(CAPD), "losses", "--config", str(config), *words]
    # CI variables make rich believe in another terminal than there is.
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", "COLUMNS")}
    clean |= {"TERM": "xterm", "LC_ALL": "C.UTF-8"} | environment
    with subprocess.Popen(argv, stdout=theirs, stderr=theirs, stdin=theirs, env=clean) as asked:
        os.close(theirs)
        said = b""
        try:
            while part := os.read(ours, 65536):
                said += part
        except OSError:  # EIO: nobody has the other end any more
            pass
    os.close(ours)
    assert asked.returncode == 0, said
    return said.decode().replace("\r\n", "\n")


def test_where_programs_read(config: Path) -> None:
    """A line for each record, however long, and nothing but ASCII."""
    done = ask(config, *DAY)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert done.stdout.startswith(PLAIN)
    plot = done.stdout.removeprefix(PLAIN).splitlines()
    assert [line.split("|")[0].split() for line in plot[1:5]] == [
        *(["eth0", "link"], ["eth0", "ring"], ["machine", "backlog"], ["w0", "disk"]),
    ]
    assert plot[-1] == "earlier records: 1; see them with --since"
    assert all(len(line) <= 80 for line in plot)


@pytest.mark.parametrize("columns", [40, 72, 80, 200])
def test_on_a_terminal(config: Path, columns: int) -> None:
    """Colour where there is some; no line is too wide and no number cut short."""
    said = on_a_terminal(config, columns, *DAY, "--samples")
    seen = re.sub(r"\x1b\[[0-9;]*m", "", said)
    assert seen != said
    assert "\x1b" not in seen
    if columns == 80:
        assert "\n".join(line.rstrip() for line in seen.splitlines()).startswith(FANCY)
    if columns > 40:
        assert all(len(line) <= columns for line in seen.splitlines())
    for text in ("12,345", "12,350", "≤ 70", "unknown", "█", "─", 'ring_size = "64MiB"'):
        assert text in seen
    assert re.search(r"waiting +0 +19  ▁.*█\n", seen)
    without = on_a_terminal(config, columns, *DAY, "--samples", NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]", without)
    assert on_a_terminal(config, columns, *DAY, TERM="dumb").isascii()


def test_samples(config: Path) -> None:
    """Of a burst that has some; under the names that they were given."""
    lines = ask(config, *DAY, "--samples").stdout.splitlines()
    begin = lines.index(
        "eth0, ring, 2025-11-24 12:00:00: 20 samples from 12:00:00.000 to 12:00:01.900 UTC"
    )
    found = [line.split(None, 3) for line in lines[begin + 1 : begin + 5]]
    marks = found[1][3]
    assert found == [
        ["sampled", "least", "most", "over time"],
        ["waiting", "0", "19", marks],
        ["psi.io", "0.5", "0.5", "@" * 20],
        ["late", "no", "yes", "." * 16 + "@" * 4],
    ]
    ranks = [".:;+=*#@".index(mark) for mark in marks]
    assert (len(ranks), ranks[0], ranks[-1]) == (20, 0, 7)
    assert ranks == sorted(ranks)
    (config.parent / "captures" / LEDGER_FOLDER / SAMPLES).unlink()
    done = ask(config, *DAY, "--samples")
    assert done.returncode == 0
    assert f"{SAMPLES} is not kept any more" in done.stdout


def test_for_programs(config: Path) -> None:
    """One document; sums by stage only."""
    found = json.loads(ask(config, *DAY, "--json", "--samples").stdout)
    assert (found["since"], found["until"]) == (NOON - 43200 * SECOND, NOON + 43200 * SECOND)
    expected = sorted(LOSSES[:5], key=lambda one: one.since)
    assert [Loss(**one) for one in found["losses"]] == expected
    assert list(found["totals"]) == ["backlog", "link", "ring", "disk"]
    assert found["totals"]["ring"] == {
        "records": 2,
        "packets": 12_350,
        "unknown": 0,
        "at_most": False,
        "lasted": 4_200_000_000,
    }
    assert found["totals"]["disk"]["unknown"] == 1
    assert [one["waiting"] for one in found["samples"][SAMPLES]] == list(range(20))
    assert found["troubles"] == []
    assert "samples" not in json.loads(ask(config, *DAY, "--json").stdout)


def test_what_is_asked_for(config: Path) -> None:
    """By interface, which the machine's losses may be of, by stage and by time."""

    def causes(*words: str) -> list[str]:
        found = json.loads(ask(config, "--json", *words).stdout)
        return [one["cause"] for one in found["losses"]]

    assert causes(*DAY, "--interface", "w0") == ["a queue was full", LOSSES[4].cause]
    assert causes(*DAY, "--stage", "link", "--stage", "disk") == [LOSSES[4].cause, "no carrier"]
    assert causes("--since", "2025-11-24 12:00:03", "--until", "2025-11-24 12:30") == [
        "its ring of 4 MiB was full"
    ]
    assert causes("--since", "2025-11-23 06:30", "--until", "2025-11-23 06:30:01") == [
        "yesterday's"
    ]
    assert causes("--until", "1min") == []


def test_what_is_missed_now_is_not_known(config: Path) -> None:
    """No daemon tells of it: nothing is said to be well, and the exit code is extract's."""
    told = "what is missed at present is not known: "
    done = ask(config)
    assert done.returncode == 3
    assert done.stderr.startswith(f"incomplete: {told}")
    assert done.stdout.startswith("nothing was lost from ")
    assert "UTC, as far as is known: the ledger in " in done.stdout
    done = ask(config, "--json")
    (trouble,) = json.loads(done.stdout)["troubles"]
    assert (done.returncode, trouble.startswith(told)) == (3, True)
    done = ask(config, "--until", "1min")
    assert (done.returncode, done.stderr) == (0, "")
    assert "as far as is known" not in done.stdout


def test_nothing_was_lost(config: Path) -> None:
    """Said with the range, and on what that rests."""
    captures = config.parent / "captures"
    words = ("--since", "2025-11-20", "--until", "2025-11-21 00:00")
    span = "from 2025-11-20 00:00:00 to 2025-11-21 00:00:00 UTC"
    done = ask(config, *words, "--interface", "eth0", "--stage", "ring")
    assert done.returncode == 0
    assert done.stdout == (
        f"nothing of eth0 was lost at ring {span}: the ledger in {captures} has no record of it\n"
    )
    ours = captures / LEDGER_FOLDER
    (ours / RECORDS).write_text("broken\n")
    done = ask(config, *words)
    assert done.returncode == 3
    assert done.stdout.startswith(f"nothing was lost {span}, as far as the ledger in")
    assert done.stderr == (f"incomplete: {ours}: 1 line of {RECORDS} cannot be understood\n")
    for path in ours.iterdir():
        path.unlink()
    ours.rmdir()
    done = ask(config, *words)
    assert done.returncode == 0
    assert done.stdout == (
        f"nothing was lost {span}, as far as is known: there is no record of a loss in {captures}\n"
    )
    ours.symlink_to("/")
    done = ask(config, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert f"cannot read {ours}" in done.stderr


def test_what_the_ledger_does_not_have_any_more(config: Path) -> None:
    """The oldest records go; sums of a range that begins before are no more than a part."""
    ledger = config.parent / "captures" / LEDGER_FOLDER
    first, *others = sorted(LOSSES, key=lambda one: one.until or 0)
    (ledger / RECORDS_BEFORE).write_text(f"{encode(first)}\n")
    (ledger / RECORDS).write_text("".join(f"{encode(one)}\n" for one in others))
    assert first.until is not None
    told = f"{ledger}: records from before {format_time(first.until)} may be gone"
    done = ask(config, "--since", "2025-11-20", "--until", "2025-11-25", "--json")
    assert (done.returncode, done.stderr) == (3, f"incomplete: {told}\n")
    assert json.loads(done.stdout)["troubles"] == [told]
    assert len(json.loads(done.stdout)["losses"]) == len(LOSSES)
    assert ask(config, *DAY).returncode == 0


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--since", "5"), '--since: "5" is not a time: write it as "2h" (ago)'),
        (("--until", "2025-02-30"), '--until: "2025-02-30" is no day of the calendar'),
        (("--since", "1h", "--until", "2h"), "UTC is not before --until"),
        (("--stage", "rings"), "--stage rings: there is no such stage; one of nic, backlog, link"),
        (("--config", "/nowhere.toml"), "/nowhere.toml"),
    ],
)
def test_wrong_words(config: Path, words: tuple[str, ...], problem: str) -> None:
    done = ask(config, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
