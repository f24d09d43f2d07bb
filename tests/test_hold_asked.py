"""`capd hold` and `capd release` as people and programs use them, with and without a daemon."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from capd import hold_folder
from capd.names import HOLD_FOLDER, SegmentName, part_name
from capd.units import SECOND
from tests.support.command import AS_NOBODY
from tests.support.laying import HOLD, NOON, SIZE, capd, folder_of, lay, there
from tests.support.need import need, need_root
from tests.support.recorder import write_config

HOUR = 3600 * SECOND
SPAN = ("--since", "2025-11-24 12:30", "--until", "2025-11-24 13:30")
WHY = ("--reason", "case 42")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Four segments of v0 and two of w0, half an hour each, hourly from noon on."""
    directory = tmp_path / "captures"
    for ring, count in (("v0", 4), ("w0", 2)):
        for seq in range(1, count + 1):
            begin = NOON + (seq - 1) * HOUR
            lay(directory, SegmentName(ring, begin, seq), begin + HOUR // 2)
    directory.chmod(0o750)
    return write_config(tmp_path / "capd.toml", directory, "v0")


def made(config: Path, *words: str) -> dict[str, object]:
    """A new hold, for programs."""
    done = capd(config, "hold", *words, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, object] = json.loads(done.stdout)
    return found


def held(config: Path) -> list[tuple[str, int]]:
    """The segments that are listed as such."""
    done = capd(config, "list", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["segments"]
    return [(one["ring"], one["seq"]) for one in found if one["held"]]


def test_a_hold_from_end_to_end(config: Path) -> None:
    """Made, shown, seen in the list, released; each time in words that say what it comes to."""
    assert capd(config, "hold").stdout == "nothing is held\n"
    assert held(config) == []
    done = capd(config, "hold", *SPAN, *WHY, "--for", "30d", "--interface", "v0")
    assert (done.returncode, done.stderr) == (0, "")
    first, amount = done.stdout.splitlines()
    identity = first.split()[1]
    assert first.startswith(
        f"hold {identity} keeps 2025-11-24 12:30:00 to 2025-11-24 13:30:00 UTC of v0, until "
    )
    assert ": case 42 (" in first
    assert amount == (
        "that is 2 segments of 16 KiB so far; all holds together: 2 segments of 16 KiB"
    )
    assert held(config) == [("v0", 1), ("v0", 2)]
    lines = capd(config, "list").stdout.splitlines()
    assert [line.endswith("raw, held") for line in lines[1:5]] == [True, True, False, False]
    shown = capd(config, "hold").stdout.splitlines()
    assert shown[0].split(None, 1) == [identity, first.split(" keeps ")[1]]
    assert shown[1:] == [
        "          2 segments of 16 KiB",
        "1 hold, 2 segments of 16 KiB in all",
    ]
    done = capd(config, "release", identity, "--reason", "it is over")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"hold {identity} was released by ")
    assert "(it is over): it kept 2025-11-24 12:30:00 to" in done.stdout
    assert held(config) == []
    assert capd(config, "hold").stdout == "nothing is held\n"
    assert len(there(config.parent / "captures", "v0")) == 4


def test_a_hold_that_the_daemon_has_not_ended(config: Path) -> None:
    """By the clock it is over; but that may be wrong, and what is there is kept."""
    with folder_of(config.parent / "captures") as folder:
        hold_folder.write(folder, replace(HOLD, expires_at=NOON + HOUR))
    assert HOLD.id in capd(config, "hold").stdout
    assert held(config) == [("v0", 1)]


def test_for_programs(config: Path) -> None:
    """Times in ns, sizes in bytes; a segment that two holds keep counts once in all."""
    before = time.time_ns()
    one = made(config, *SPAN, *WHY, "--interface", "v0", "--interface", "w0")
    other = made(config, "--since", "2025-11-24 13:00", *WHY, "--for", "1h")
    assert (one["since"], one["until"]) == (NOON + HOUR // 2, NOON + 3 * HOUR // 2)
    assert (one["interfaces"], other["interfaces"]) == (["v0", "w0"], [])
    assert (one["expires_at"], one["segments"]) == (None, 4)
    made_at, expires_at = other["made_at"], other["expires_at"]
    assert isinstance(made_at, int)
    assert before <= made_at <= time.time_ns()
    assert (expires_at, other["until"]) == (made_at + HOUR, made_at)
    assert (one.pop("gone"), other.pop("gone")) == ([], [])
    found = json.loads(capd(config, "hold", "--json").stdout)
    assert found["holds"] == [one, other]
    assert found["unclear"] == []
    assert (found["totals"]["segments"], other["segments"]) == (6, 4)
    assert found["totals"]["bytes"] == 6 * 2 * SIZE
    done = capd(config, "release", "--all")
    assert done.returncode == 0
    assert done.stdout.count("was released") == 2
    assert capd(config, "release", "--all").stdout == "nothing is held\n"


def test_what_it_comes_too_late_for_is_said(config: Path) -> None:
    """And what is not there at all; a range may end in the future."""
    words = ("--since", "2025-11-24 11:00", "--until", "2100-01-01", *WHY)
    named = ("--interface", "v0", "--interface", "eth7")
    done = capd(config, "hold", *words, *named)
    told = "incomplete: eth7: nothing of that name is known; there is v0, w0\n"
    assert (done.returncode, done.stderr) == (3, told)
    assert done.stdout.splitlines()[2:] == [
        "v0: nothing from before 2025-11-24 12:00:00 UTC is there",
        "eth7: no segment is there yet",
    ]
    assert held(config) == [("v0", seq) for seq in (1, 2, 3, 4)]
    assert made(config, *words)["gone"] == [
        f"{ring}: nothing from before 2025-11-24 12:00:00 UTC is there" for ring in ("v0", "w0")
    ]
    with config.open("a") as file:  # it is to come
        file.write('[[interface]]\nname = "eth7"\n')
    done = capd(config, "hold", *words, *named)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_being_written_is_told_of(config: Path) -> None:
    """It is not counted, and neither missing; unless a segment after the hold is closed already."""
    for ring in ("v0", "x0"):
        (config.parent / "captures" / ring).mkdir(exist_ok=True)
        (config.parent / "captures" / ring / part_name(9)).write_bytes(bytes(SIZE))
    words = ("hold", "--interface", "x0", "--interface", "v0", *WHY)
    text = "{}: the segment that is open is not counted; what it has of that is kept too"
    done = capd(config, *words, "--since", "10min")
    assert done.stdout.splitlines()[2:] == [text.format("v0"), text.format("x0")]
    assert capd(config, *words, *SPAN).stdout.splitlines()[2:] == [text.format("x0")]
    future = capd(config, *words, "--since", "now", "--until", "2100-01-01")
    assert future.stdout.splitlines()[2:] == []


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("hold", "--until", "now"), "--until needs --since"),
        (("hold", *WHY), "--reason needs --since"),
        (("hold", "--for", "1d"), "--for needs --since"),
        (("hold", "--interface", "v0"), "--interface needs --since"),
        (("hold", *SPAN), "--reason is missing"),
        (("hold", *SPAN, "--reason", " \n"), "--reason: write a line of text"),
        (("hold", *SPAN, "--reason", "\x1b[2J"), "--reason: write a line of text"),
        (("hold", *SPAN, "--reason", "x" * 1001), "--reason: it has 1001 characters"),
        (("hold", "--since", "5", *WHY), '--since: "5" is not a time'),
        (("hold", "--since", "1h", "--until", "2h", *WHY), "UTC is not before --until"),
        (("hold", *SPAN, *WHY, "--for", "30"), '--for: "30" has no unit'),
        (("hold", *SPAN, *WHY, "--for", "0s"), "--for: a hold of no time"),
        (("hold", *SPAN, *WHY, "--for", "99999d"), "--for: that is after 2262"),
        (("hold", *SPAN, *WHY, "--interface", "v0:1"), "--interface v0:1: name the interface"),
        (("hold", *SPAN, *WHY, "--interface", "../x"), "--interface ../x: it has a character"),
        (("release",), "one of the arguments ID --all is required"),
        (("release", "0123abcd", "--all"), "not allowed with argument"),
    ],
)
def test_wrong_words(config: Path, words: tuple[str, ...], problem: str) -> None:
    done = capd(config, *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert problem in done.stderr
    assert not (config.parent / "captures" / HOLD_FOLDER).exists()


def test_an_unknown_id(config: Path) -> None:
    """Then none is released, whichever else was named."""
    one = str(made(config, *SPAN, *WHY)["id"])
    for other in ("0000ffff", "../captures", f"{one}.json", "/etc/passwd", ""):
        done = capd(config, "release", one, other)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"there is no hold {other} in " in done.stderr
    assert json.loads(capd(config, "hold", "--json").stdout)["holds"][0]["id"] == one


def test_a_file_that_is_no_hold(config: Path) -> None:
    """It is named, keeps all there is, and can be released by its name."""
    folder = config.parent / "captures" / HOLD_FOLDER
    one = str(made(config, *SPAN, *WHY)["id"])
    (folder / f"{one}.json").write_text("{")
    (folder / "notes.txt").write_text("of no concern")
    done = capd(config, "hold")
    assert done.returncode == 3
    assert done.stdout == "0 holds, 6 segments of 48 KiB in all\n"
    assert f"incomplete: {folder}/{one}.json: it cannot be understood as a hold" in done.stderr
    listed = capd(config, "list")
    assert listed.returncode == 3
    assert listed.stdout.count("raw, held") == 6
    assert capd(config, "release", "--all").returncode == 3
    done = capd(config, "release", one)
    assert (done.returncode, done.stderr) == (0, "")
    assert "it kept nobody knows what" in done.stdout
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


def test_a_folder_that_is_none(config: Path) -> None:
    """Segments are listed all the same, and nobody says that they are not held."""
    (config.parent / "captures" / HOLD_FOLDER).symlink_to("/etc")
    done = capd(config, "list", "--json")
    assert done.returncode == 3
    assert "incomplete: cannot read the holds in " in done.stderr
    assert {one["held"] for one in json.loads(done.stdout)["segments"]} == {None}
    for words in (("hold",), ("hold", *SPAN, *WHY), ("release", "--all")):
        done = capd(config, *words)
        assert (done.returncode, done.stdout) == (1, "")


def test_on_the_root_disk(config: Path) -> None:
    """Where `require_mount` says that there is to be another, nobody would find the hold."""
    directory = config.parent / "captures"
    if directory.stat().st_dev != Path("/").stat().st_dev:
        directory = Path("/var")
    text = config.read_text().replace(f'"{config.parent}/captures"', f'"{directory}"')
    config.write_text(text.replace("[storage]", "[storage]\nrequire_mount = true"))
    for words in (("hold", *SPAN, *WHY), ("release", "--all")):
        done = capd(config, *words)
        assert (done.returncode, done.stdout) == (1, "")
        assert "it is on the root file system, and require_mount is set" in done.stderr
    assert not (directory / HOLD_FOLDER).exists()
    done = capd(config, "hold")
    assert done.returncode == 3
    assert f"incomplete: {directory} is on the root file system" in done.stderr


def test_somebody_else(config: Path) -> None:
    """May change nothing, and is told who may."""
    need_root()
    need("setpriv")
    one = str(made(config, *SPAN, *WHY)["id"])
    for words in (("hold", *SPAN, *WHY), ("release", one)):
        done = capd(config, *words, prefix=AS_NOBODY)
        assert (done.returncode, done.stdout) == (1, "")
        assert "only root and the members of the group root may" in done.stderr
    assert len(list((config.parent / "captures" / HOLD_FOLDER).iterdir())) == 1
