"""The manual pages as pages: set without a complaint, and what they tell one to type is right."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd.config import Config, load
from capd.daemon.ringroom import FRAME_OVERHEAD, RESTART_PAUSE
from capd.times import parse_time
from capd.units import SECOND, SIZES, parse_duration
from tests.support.grammar import words
from tests.support.mdoc import displays, items, plain, sections
from tests.support.need import need
from tests.support.roots import CHECKOUT

MAN = CHECKOUT / "packaging" / "man"
PAGES = ("capd.8", "capd.toml.5", "capd-guide.7")
# Is about the machine that asks: a page that it has not, as many of Debian's images have none.
_ABSENT = "referenced manual not found: "
SECTIONS = {page: sections(MAN / page) for page in PAGES}
TEXTS = [
    (page, text) for page in PAGES for part in SECTIONS[page].values() for text in displays(part)
]


@pytest.mark.parametrize("page", PAGES)
def test_mandoc(page: str) -> None:
    need("mandoc")
    done = subprocess.run(
        ["mandoc", "-T", "lint", MAN / page], stdout=subprocess.PIPE, text=True, check=False
    )
    assert [line for line in done.stdout.splitlines() if _ABSENT not in line] == []


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(
    "argv", [["man", "--warnings", "-E", "UTF-8", "-l"], ["groff", "-ww", "-mandoc", "-Tutf8"]]
)
def test_groff(page: str, argv: list[str]) -> None:
    need(argv[0])
    done = subprocess.run([*argv, MAN / page], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "SEE ALSO" in re.sub("\x1b\\[[0-9;]*m|.\b", "", done.stdout)


def test_pages_refer_to_each_other() -> None:
    for page in PAGES:
        known = {f"{name} {number}" for name, _, number in (one.rpartition(".") for one in PAGES)}
        own = known - {" ".join(page.rsplit(".", 1))}
        text = (MAN / page).read_text()
        assert own <= set(re.findall(r"^\.Xr (\S+ \d)", text, re.MULTILINE)), page


def commands() -> Iterator[list[str]]:
    """Every `capd ...` that the pages tell one to type, as a shell divides it."""
    for _, text in TEXTS:
        for line in text.replace("\\\n", " ").splitlines():
            parts = shlex.shlex(line, posix=True, punctuation_chars=True)
            parts.whitespace_split = True
            given: list[str] = []
            for word in [*parts, ";"]:
                if set(word) <= set("();<>|&"):
                    if "capd" in given and given[0] in ("capd", "ssh"):
                        given = given[given.index("capd") + 1 :]
                        yield given[:-1] if word == ">" and given[-1] == "2" else given
                    given = []
                else:
                    given.append(word)


def test_commands_can_be_typed() -> None:
    found = list(commands())
    assert len(found) > 20
    for argv in found:
        options = words()[""].parse_args(argv, argparse.Namespace(head_start=None))
        for name in ("since", "until"):
            if getattr(options, name, None) is not None:
                parse_time(getattr(options, name), time.time_ns())
        if getattr(options, "lasting", None) is not None:
            parse_duration(options.lasting)


def test_configs_can_be_used(tmp_path: Path) -> None:
    """Each piece of a config, with an interface where it has none."""
    path = tmp_path / "capd.toml"
    count = 0
    for page, text in TEXTS:
        header = ""
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError:
            assert "[[interface]]" not in text, text
            continue
        if "command" in document:  # another one than that before it
            document, header = {"alert": document}, "[alert]\n"
        if set(document) <= set(Config.model_fields):
            count += 1
            more = "" if "interface" in document else '[[interface]]\nname = "@default"\n'
            path.write_text(header + text + more)
            load(str(path))
        else:
            assert set(document) <= {"Unit", "Service"}, f"{page}: {text}"
    assert count == 5


def test_times_are_times() -> None:
    (section,) = (part for name, part in SECTIONS["capd.8"].items() if name == "DATES AND TIMES")
    found = [one for item in items(section) for one in re.split(" , ", item.head[3:])]
    assert len(found) == 11
    for text in found:
        parse_time(text, time.time_ns())


def table(section: str) -> list[list[str]]:
    """Its rows, without the first."""
    rows = [item.head.split(" Ta ") for item in items(SECTIONS["capd-guide.7"][section])]
    return [row for row in rows if len(row) > 1][1:]


def test_disk_is_sized_right() -> None:
    for link, full, day, month in table("SIZING THE DISK"):
        rate = amount(link.replace("b/s", "B")) / 8
        assert amount(full.removesuffix("/s")) == pytest.approx(rate, rel=0.001)
        assert amount(day) == pytest.approx(rate * 86400, rel=0.01)
        assert amount(month) == pytest.approx(rate * 86400 * 30 / 10, rel=0.05)


def test_ring_is_sized_right() -> None:
    for link, least, second, ten in table("SIZING THE RING"):
        rate = amount(link.replace("b/s", "B")) / 8 * FRAME_OVERHEAD
        assert amount(least) == pytest.approx(rate * 2 * RESTART_PAUSE / SECOND, rel=0.03)
        assert amount(second) == pytest.approx(rate, rel=0.03)
        if "hold" in ten:  # the largest there is
            size, held = ten.split(" hold ")
            assert amount(size) == pytest.approx(rate * float(held.removesuffix(" s")), rel=0.01)
        else:
            assert amount(ten) == pytest.approx(10 * rate, rel=0.03)
    assert f"times {FRAME_OVERHEAD} " in plain(SECTIONS["capd-guide.7"]["SIZING THE RING"])


def amount(text: str) -> float:
    number, unit = text.split()
    return float(number) * (SIZES | {"PB": 10**15})[unit]
