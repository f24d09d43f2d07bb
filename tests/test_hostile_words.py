"""Words that mean ill, given to commands that people run as root: none is run, none is a key."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from capd.convert.conversion import convert
from capd.errors import UsageError
from tests.support.roots import CHECKOUT

TABLES = {"storage", "capture", "compression", "interface"}
# Ends at once when Python starts or writes anything, or talks to anybody (sys.addaudithook); the
# filter compiler may be started, which gets a filter and nothing else of the line.
WATCHED = """
import os, sys
from capd.cli import main
STARTING = ("os.exec", "os.fork", "os.posix_spawn", "os.spawn", "os.system", "pty.spawn",
            "socket.connect", "socket.bind")
def look(event, words):
    bad = event in STARTING
    if event == "subprocess.Popen":
        bad = words[1][:3] != [sys.executable, "-I", "-S"] or "filter_compiler" not in words[1][3]
    elif event == "open":
        bad = isinstance(words[0], str) and bool(words[2] & (os.O_WRONLY | os.O_RDWR))
    if bad:
        print(event, words, flush=True)
        os._exit(99)
sys.addaudithook(look)
sys.exit(main(sys.argv[1:]))
"""
BREAKING = st.text(alphabet="\"'\\\n\r#=[]x\u0085\u2028\x7f", max_size=12)


@pytest.mark.security("convert")
@given(filter_=BREAKING, folder=BREAKING)
@settings(max_examples=200, deadline=None)
@example(filter_='x"\n[alert]\ncommand = ["/bin/sh"]\n#', folder="x")
@example(filter_="x", folder="x'''\n[hook]\nsegment_closed = ['/bin/sh']\n")
@example(filter_='"""\n[alert]\n', folder='\\"')
def test_no_word_becomes_a_key(filter_: str, folder: str) -> None:
    """Whatever stands in a line, the config has the tables that convert writes, and no other."""
    try:
        made = convert(["tcpdump", "-i", "eth0", "-w", f"/data/{folder}", "--", filter_])
    except UsageError:
        return
    document = tomllib.loads(made.toml)
    assert set(document) <= TABLES
    assert [interface["name"] for interface in document["interface"]] == ["eth0"]
    assert not [
        key for key in document.get("capture", {}) if "\n" in key or key in ("command", "hook")
    ]


@pytest.mark.security("convert")
@pytest.mark.parametrize(
    "line",
    [
        "tcpdump -i eth0 -w /data/$(touch /tmp/x)",
        "tcpdump -i eth0 -w /data/`touch /tmp/x`",
        "tcpdump -i eth0 -w /data/x -z /bin/sh",
        "sudo sh -c 'tcpdump -i eth0 -w /data/x'; touch /tmp/x",
        "tcpdump -i eth0 -w /data/x port 80",
    ],
)
def test_a_line_is_not_run(line: str) -> None:
    """Nor anything in it, whether it is converted or refused."""
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, "convert", line],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (0, 2), done


@pytest.mark.security("package")
def test_scripts_of_the_package() -> None:
    """They change no owner and no mode, make no file, and evaluate nothing."""
    for name in ("postinst", "prerm", "postrm"):
        text = Path(CHECKOUT, f"packaging/debian/capd.{name}").read_text()
        words = set(text.replace("(", " ").replace(";", " ").split())
        assert not words & {
            "chown",
            "chmod",
            "mktemp",
            "eval",
            "mkdir",
            "ln",
            "cp",
            "mv",
        }
        assert "/tmp" not in text
