"""How `capd convert` reads a line: the shell's part, what stands before a program, its options."""

from __future__ import annotations

import json
import os
import re
import shlex
import string
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from capd.convert import dumpcap, dumpcap_options, tcpdump, tcpdump_options
from capd.convert.conversion import convert
from capd.convert.options import parse
from capd.convert.plan import Plan
from capd.convert.shell import commands
from capd.convert.wrappers import WRAPPERS
from capd.errors import UsageError
from tests.support.conversions import converted, loaded
from tests.support.need import need

ROOT = Path(__file__).resolve().parent.parent
CONVERT = (sys.executable, "-m", "capd", "convert")
# Options of tcpdump that 4.99 does not have.
NEWER = {"-g", "--ip-oneline", "--lengths", "--print-sampling", "--skip", "--time-t-size"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b", [["a", "b"]]),
        ("a 'b c' \"d 'e' \\\" f\" g\\ h", [["a", "b c", "d 'e' \" f", "g h"]]),
        ("a \\\n  b", [["a", "b"]]),
        ("a '' b", [["a", "", "b"]]),
        ("a; b && c | d & e\nf || g", [["a"], ["b"], ["c"], ["d"], ["e"], ["f"], ["g"]]),
        ("a # b; c\nd -#", [["a"], ["d", "-#"]]),
        ("(a b)", [["a", "b"]]),
        ("a '$x' \\$y \"\\$z\"", [["a", "$x", "$y", "$z"]]),
        ("a 'tcp[13] & 2 != 0'", [["a", "tcp[13] & 2 != 0"]]),
    ],
)
def test_shell_words(text: str, words: list[list[str]]) -> None:
    assert [command.words for command in commands(text)] == words


@pytest.mark.parametrize(
    ("text", "output", "stripped"),
    [
        ("a > /x 2>&1 &", "/x", ["2>&1", "&"]),
        ("a >> x", "x", []),
        ("a 2>/dev/null", "", ["2>/dev/null"]),
        ("a &> 'x y'", "x y", []),
        ("a < x", "", ["<x"]),
    ],
)
def test_redirections(text: str, output: str, stripped: list[str]) -> None:
    (command,) = commands(text)
    assert (command.words, command.output, command.stripped) == (["a"], output, stripped)


@pytest.mark.parametrize(
    "text", ["a $IF", 'a "$(date)"', "a `date`", "a 'b", 'a "b', "a >", "a \\"]
)
def test_a_shell_is_needed(text: str) -> None:
    with pytest.raises(UsageError):
        commands(text)


@pytest.mark.parametrize(
    "before",
    [
        "sudo -u root",
        "sudo -n --preserve-env=PATH --",
        "doas",
        "nohup",
        "LC_ALL=C TZ=UTC",
        "env -i TZ=UTC",
        "nice -n 19",
        "nice -19",
        "ionice -c 3",
        "chrt -f 50",
        "timeout -k 5 --foreground 1h",
        "stdbuf -oL",
        "sudo nohup setsid nice /usr/bin/env A=b",
        "systemd-run --unit=cap --property=Restart=always --collect",
        "systemd-run --scope --unit cap nice",
        "numactl --cpunodebind=0 --membind 0",
        "numactl -N 0 -m 0 --",
        "screen -dmS cap",
        "screen -d -m -S cap",
        "tmux new-session -d -s cap",
        "runuser -u tcpdump --",
        "setpriv --reuid=1000 --init-groups",
        "pkexec --user root",
        "choom -n -1000 --",
        "prlimit --nofile=1000",
        "cgexec -g cpu:captures --sticky",
        "flock -n /run/lock/x",
        "daemonize -p /run/x.pid",
        "bash -c",
        "sudo sh -xc",
        "tmux -L socket new -d -s c",
        "su - tcpdump -c",
        "runuser -l -c",
        "flock --nonblock /run/lock/x -c",
    ],
)
def test_what_stands_before(before: str) -> None:
    """The line is the same without it, and each part is noted."""
    line = ["/usr/sbin/tcpdump", "-i", "eth0", "-w", "/data/x", "udp"]
    words = [*before.split(), *([shlex.join(line)] if before.endswith("c") else line)]
    plain, wrapped = convert(line), convert(words)
    assert wrapped.toml.splitlines()[1:] == plain.toml.splitlines()[1:]
    assert set(plain.notes) <= set(wrapped.notes)
    noted = {note.about.split()[0] for note in wrapped.notes}
    starters = [os.path.basename(word) for word in before.split() if not word.startswith("-")]
    assert noted >= {word for word in starters if word in WRAPPERS or "=" in word}


@pytest.mark.parametrize(
    ("before", "cpus"),
    [
        ("taskset -c 2,3", (2, 3)),
        ("taskset -c 0-8:4", (0, 4, 8)),
        ("taskset 0x6", (1, 2)),
        ("numactl -m 0 -C 1-2", (1, 2)),
        ("numactl --physcpubind=7", (7,)),
    ],
)
def test_processors(before: str, cpus: tuple[int, ...]) -> None:
    line = converted(*before.split(), "tcpdump", "-i", "eth0")
    assert line.keys("eth0") == {"cpus": cpus}


def test_a_line_of_a_unit() -> None:
    line = converted("ExecStart=-/bin/nice /bin/tcpdump -i eth0 -G 60 -w /a/%%s.pcap")
    assert line.names == ["eth0"]
    assert line.keys() == {"rotate_interval": 60 * 10**9}
    assert line.said("otherwise", "-w /a/%s.pcap")
    with pytest.raises(UsageError, match='"%i": what systemd puts in is not known'):
        convert(["ExecStart=/usr/sbin/tcpdump -i %i"])


def test_several_lines_at_once() -> None:
    """What each keeps is its own interface's; what is left out is said."""
    line = converted(
        "ethtool -K eth0 gro off; tcpdump -i eth0 -C 100 -W 10 -w /a/x & "
        "dumpcap -i eth1 -b duration:60 -b files:10 -w /b/y & tcpdump -i eth2 -w - | gzip > x.gz"
    )
    assert line.names == ["eth0", "eth1", "eth2"]
    assert line.keys("eth0") == {"rotate_size": 10**8, "max_size": 10**9}
    assert line.keys("eth1") == {"rotate_interval": 60 * 10**9, "max_age": 600 * 10**9}
    assert line.keys("eth2") == {}
    assert line.config.storage.directory == "/a/capd"
    assert "one directory for all" in line.said("otherwise", "-w /b/y")
    assert "[tuning]" in line.said("otherwise", "ethtool")
    assert "[compression]" in line.said("otherwise", "gzip > x.gz")


def test_options_as_getopt_reads_them() -> None:
    """In clusters, attached, abbreviated, behind operands, up to `--`."""
    words = "-nni eth0 udp -s96 --snap=10 --interface eth1 and -w - -- -x port -n"
    line = parse("tcpdump", tcpdump_options.TABLE, words.split())
    assert [(each.name, each.value, each.spelled) for each in line.given] == [
        ("-n", "", "-n"),
        ("-n", "", "-n"),
        ("-i", "eth0", "-i eth0"),
        ("-s", "96", "-s 96"),
        ("-s", "10", "--snap=10"),
        ("-i", "eth1", "--interface eth1"),
        ("-w", "-", "-w -"),
    ]
    assert line.operands == ["udp", "and", "-x", "port", "-n"]


def test_every_option_of_tcpdump() -> None:
    """The installed one's getopt says which there are, and which take a value."""
    need("tcpdump")
    known = {f"-{each.short}": each.value for each in tcpdump_options.TABLE if each.short}
    known |= {f"--{each.long}": each.value for each in tcpdump_options.TABLE if each.long}
    help_text = subprocess.run(["tcpdump", "--help"], capture_output=True, text=True, check=False)
    said = set(re.findall(r"--[a-z][a-z-]+", help_text.stdout + help_text.stderr))
    letters = {f"-{letter}" for letter in string.ascii_letters + "#"}
    found = {}
    for option in sorted(letters | said | known.keys()):
        run = subprocess.run(
            ["tcpdump", "-d", "-y", "EN10MB", option],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        valued = "requires an argument" in run.stderr
        # -Y is known to getopt only, unless tcpdump is built for its own debugging
        if valued or "Usage:" not in run.stderr:
            found[option] = valued
    assert len(found) > 60
    assert {option: known.get(option) for option in found} == found
    assert known.keys() - found.keys() <= NEWER


def test_every_option_of_dumpcap() -> None:
    need("dumpcap")
    run = subprocess.run(["dumpcap", "--help"], capture_output=True, text=True, check=True)
    said: dict[str, bool] = {}
    for line in run.stdout.splitlines():
        words = line.split("  ")[1] if line.startswith("  -") else ""
        for name, value in re.findall(r"(--?[\w-]+)( <)?", words):
            said[name] = bool(value) or "<" in words
    known = {f"-{each.short}": each.value for each in dumpcap_options.TABLE if each.short}
    known |= {f"--{each.long}": each.value for each in dumpcap_options.TABLE if each.long}
    assert len(said) > 40
    said.pop("--update-interval", None)  # 4.4's help leaves out that it takes a value
    assert {option: known.get(option) for option in said} == said
    assert known.keys() - said.keys() <= {"-Z", "--update-interval", "--log-fatal-domains"}


@pytest.mark.parametrize(
    ("size", "outcome"),
    [("4096000", "invalid packet buffer size 4096000"), ("6000000", ""), ("4M", "")],
)
def test_what_is_said_of_the_buffer(size: str, outcome: str) -> None:
    """The notes claim this of tcpdump."""
    need("tcpdump")
    run = subprocess.run(
        ["tcpdump", "-d", "-y", "EN10MB", "-B", size], capture_output=True, text=True, check=False
    )
    assert (outcome in run.stderr, run.returncode) == (True, 1 if outcome else 0)


OPTIONS = [
    *(option for table in (tcpdump_options.TABLE, dumpcap_options.TABLE) for option in table)
]
NAMES = sorted({f"-{o.short}" for o in OPTIONS if o.short} | {f"--{o.long}" for o in OPTIONS})
VALUES = [
    *("0", "1", "5k", "96", "4096", "4096000", "99999999999999999999", "-1", "0x10", "eth0", "any"),
    *("a or b", "duration:60", "filesize:100", "files:7", "interval:5", "packets:1", "in", "host"),
    *("/data/%Y/x", "x", "-", "", "--", ":::", "{}", "tcp", "\0", "\x7f", "\udc80", "1;2", "é"),
]
WORDS = st.one_of(st.sampled_from(NAMES), st.sampled_from(VALUES), st.text(max_size=6))


def accounted(plan: Plan) -> set[str]:
    """What is noted or came to a key."""
    tables = (plan.storage, plan.compression, *(each.settings for each in plan.recordings))
    origins = [setting.origin for table in tables for setting in table.values()]
    origins += [each.name.origin for each in plan.recordings]
    return {note.about for note in plan.notes} | set(origins)


@given(program=st.sampled_from(["tcpdump", "dumpcap"]), words=st.lists(WORDS, max_size=8))
@settings(max_examples=1500, deadline=None)
def test_no_option_is_dropped(program: str, words: list[str]) -> None:
    """Each is converted, explained or refused by name."""
    module, table = {
        "tcpdump": (tcpdump, tcpdump_options.TABLE),
        "dumpcap": (dumpcap, dumpcap_options.TABLE),
    }[program]
    try:
        plan = module.plan_of(words, "")
    except UsageError:
        return
    found = accounted(plan)
    line = parse(program, table, words).given
    said = {(e.name, e.value) for e in line if any(e.spelled in about for about in found)}
    assert {(each.name, each.value) for each in line} == said


@given(
    line=st.lists(
        st.one_of(WORDS, st.sampled_from(["sudo", "parallel", "tcpdump", "env", "sh", "-c"])),
        max_size=5,
    ),
    whole=st.booleans(),
)
@settings(max_examples=120, deadline=None)
@example(line=["tcpdump", "-i", "any", "-w", "/data/x"], whole=True)
@example(line=["tcpdump", "-i", "eth0", "port 80\x7f"], whole=False)
@pytest.mark.security("convert")
def test_any_line_loads_or_is_refused(line: list[str], whole: bool) -> None:
    """Nothing but UsageError comes of it, and what is written is a config."""
    try:
        conversion = convert([" ".join(line)] if whole else line)
    except UsageError:
        return
    loaded(conversion.toml)
    assert json.loads(conversion.as_json())["toml"] == conversion.toml
    assert "\n".join(conversion.lines()).replace("\n", "").isprintable()


def test_the_command() -> None:
    """The config on one, the notes on the other; refused: one line and 2."""
    words = ["tcpdump", "-ni", "eth0", "-B", "65536", "-w", "/data/x", "--", "udp"]
    done = subprocess.run(
        [*CONVERT, "--", *words], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert loaded(done.stdout).interface[0].name == "eth0"
    assert loaded(done.stdout).capture.filter == "udp"
    assert "-B counts in KiB: this is 64 MiB" in done.stderr
    plain = subprocess.run(
        [*CONVERT, "--json", *words], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert json.loads(plain.stdout)["toml"] == done.stdout.rstrip("\n")
    assert plain.stderr == ""
    refused = subprocess.run(
        [*CONVERT, "--", "tcpdump", "-k"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    text = 'tcpdump has no option "-k", in "-k"\n'
    assert (refused.returncode, refused.stdout, refused.stderr) == (2, "", text)
