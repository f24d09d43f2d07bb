"""`capd extract` where something is wrong: with the files, the words, or who says them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
import zlib
from pathlib import Path

import pytest
import zstandard

from capd import index as indexes
from capd.archive.compressor import LEAST_SECTION
from capd.query.sources import Sources, Wanted
from tests.support import judge
from tests.support.command import AS_NOBODY
from tests.support.compressing import compress_file
from tests.support.extracting import (
    CAPD,
    EACH,
    GAP,
    SECTION,
    at,
    expected,
    extracted,
    frame,
    make,
    plain,
    put,
    run,
    stream,
)
from tests.support.judge import assert_clean
from tests.support.traffic import START


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    """Two rings, each of four segments in as many states."""
    return make(tmp_path)


@pytest.mark.fault(48)
def test_damage_is_named(captures: Path) -> None:
    """What cannot be read costs no more than itself, and is told with its place."""
    (raw,) = captures.glob("v0/*/*_0000000001.pcapng")
    content = bytearray(raw.read_bytes())
    content[SECTION * 3 // 2 : SECTION * 3 // 2 + 400] = b"\xff" * 400
    raw.write_bytes(content)
    made = captures.parent / "out.pcapng"
    done = run(captures, "-o", str(made), "--json")
    assert done.returncode == 3
    told = json.loads(done.stderr)
    assert not told["complete"]
    assert any("are damaged, and not searched" in text for text in told["troubles"])
    assert_clean(made)
    assert 2 * 4 * EACH - 120 < told["packets"] < 2 * 4 * EACH


@pytest.mark.fault(48)
@pytest.mark.parametrize("compressed", [False, True], ids=["raw", "compressed"])
def test_a_changed_byte_is_named(captures: Path, *, compressed: bool) -> None:
    """In a packet's data, where every length stays right: the packet is given, and is told of."""
    number = EACH // 2
    data = frame(2 * number)
    (raw,) = captures.glob("v0/*/*_0000000001.pcapng")
    changed = change(raw, data, compressed=compressed)
    made = captures.parent / "out.pcapng"
    done = run(captures, "-o", str(made), "--json")
    told = json.loads(done.stderr)
    assert done.returncode == 3
    (trouble,) = told["troubles"]
    assert trouble.startswith(f"{raw}{'.zst' * compressed}, section at byte ")
    assert trouble.endswith(": not what was recorded; packets of it may be changed")
    stamp = START + number * GAP
    given = [(stamp, changed) if each == (stamp, data) else each for each in expected()]
    assert plain(judge.packets(made)) == given
    done = run(captures, "-o", str(made), "--json", "port", "54")
    assert (done.returncode, json.loads(done.stderr)["packets"]) == (0, 0)


def change(raw: Path, data: bytes, *, compressed: bool) -> bytes:
    """The last byte of this frame becomes another one in a segment; gives the frame."""
    content = raw.read_bytes()
    changed = data[:-1] + bytes([data[-1] ^ 1])
    assert content.count(data) == 1
    raw.write_bytes(content.replace(data, changed))
    if compressed:
        path = raw.with_name(f"{raw.name}.zst")
        made = compress_file(raw, path, 3, LEAST_SECTION).contents
        (section,) = made.sections
        recorded = made._replace(sections=(section._replace(crc=zlib.crc32(content)),))
        path.with_name(f"{path.name}.idx").write_bytes(indexes.encode(recorded))
        raw.unlink()
        raw.with_name(f"{raw.name}.idx").unlink()
    return changed


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("ifindex", "3"), "segments do not record"),
        (("host", "example.com"), "addresses only"),
        (("(" * 10_000,), "cannot use the filter"),
        (("--", "-z", "id"), "cannot use the filter"),
        (("\N{SNOWMAN}",), "has no place in a filter"),
        (("a" * 65_536,), "characters long"),
        (("not",), "syntax error"),
    ],
)
def test_hostile_filters(captures: Path, words: tuple[str, ...], problem: str) -> None:
    """Each is refused in words, and nothing is given."""
    done = run(captures, *words)
    assert done.returncode in (1, 2)
    assert problem in done.stderr.decode()
    assert done.stdout == b""


def test_a_file_among_the_segments(captures: Path) -> None:
    """An output that might be evidence is refused."""
    (raw,) = captures.glob("v0/*/*_0000000001.pcapng")
    before = raw.read_bytes()
    done = run(captures, "-o", str(raw))
    assert done.returncode == 2
    assert raw.read_bytes() == before


def test_without_an_output(captures: Path) -> None:
    """`capd extract >&-`."""
    argv = [CAPD, "extract", "--config", captures.parent / "capd.toml", "--since", at(START)]
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *map(str, argv)]
    done = subprocess.run(shell, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "stdout is closed: use -o FILE, or a pipe\n")


def test_without_standard_error(captures: Path) -> None:
    """`capd extract 2>&-`: what there is to say is not said among the packets."""
    argv = [CAPD, "extract", "--config", captures.parent / "capd.toml", "--since", at(START)]
    whole = subprocess.run(list(map(str, argv)), capture_output=True, check=False)
    shell = ["sh", "-c", 'exec "$@" 2>&-', "sh", *map(str, argv)]
    done = subprocess.run(shell, stdout=subprocess.PIPE, check=False)
    assert done.returncode == whole.returncode
    assert len(done.stdout) == len(whole.stdout)


def test_others_are_refused(captures: Path) -> None:
    """Who is neither root nor of the directory's group gets nothing, even of readable files."""
    argv = [
        *(*AS_NOBODY, str(CAPD), "extract"),
        *("--config", str(captures.parent / "capd.toml"), "--since", "1h"),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "only root and the members of the group root may have them" in done.stderr


@pytest.mark.fault(46)
def test_what_is_not_kept_is_said(captures: Path) -> None:
    """A range that begins before the oldest segment is not covered."""
    done = run(captures, "--since", at(START - 10**10))
    assert done.returncode == 3
    assert b"v0: nothing is kept from before 2025-07-21" in done.stderr


def test_a_reader_that_has_enough(captures: Path) -> None:
    """`| head` ends it quietly."""
    argv = f"{CAPD} extract --config {captures.parent}/capd.toml --since @0 | head -c 100 | wc -c"
    done = subprocess.run(["bash", "-c", argv], capture_output=True, text=True, check=True)
    assert done.stdout == "100\n"
    assert "Traceback" not in done.stderr


def test_nobody_reads(captures: Path) -> None:
    """A pipe that is closed from the beginning on is an end, not a failure."""
    reading, writing = os.pipe()
    os.close(reading)
    words = ("--config", str(captures.parent / "capd.toml"), "--since", at(START))
    done = subprocess.run(
        [str(CAPD), "extract", *words], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert done.returncode == 3
    assert b"whoever read the packets has ended" in done.stderr


@pytest.mark.fault(46)
def test_the_second_directory(captures: Path) -> None:
    """What has moved there is found there, and what is in both for a moment comes once."""
    second = captures.with_name("second")
    for path in captures.glob("v0/*/*"):
        moved = second / path.relative_to(captures)
        moved.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, moved)
        if "_0000000002" in path.name:
            path.unlink()
    with (captures.parent / "capd.toml").open("a") as file:
        file.write(f'[archive]\ndirectory = "{second}"\n')
    assert plain(extracted(captures)) == expected()


@pytest.mark.fault(25)
def test_an_index_that_lies(captures: Path) -> None:
    """Lengths and links that cannot be: no crash, nothing twice."""
    (path,) = captures.glob("v0/*/*_0000000001.pcapng.idx")
    sound = indexes.decode(path.read_bytes())
    first, second, *others = sound.sections
    longer = second._replace(stored_length=second.stored_length // 8 * 4)
    for index, words in (
        (sound._replace(sections=(first, longer, *others)), b"not as long as the index says"),
        (sound._replace(link_type=2**32 - 1), b"\ncomplete\n"),
    ):
        path.write_bytes(indexes.encode(index))
        done = run(captures, "-o", str(captures.parent / "out.pcapng"))
        assert words in done.stderr
        given = plain(judge.packets(captures.parent / "out.pcapng"))
        assert given == [each for each in expected() if each in set(given)]


def test_a_compressed_segment_that_is_cut_off(captures: Path) -> None:
    """Its end is missed, even where what is left ends with a packet."""
    (path,) = captures.glob("v0/*/*.zst")
    raw = zstandard.decompress(path.read_bytes())
    started = zstandard.ZstdCompressor().compressobj()
    kept = started.compress(raw) + started.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    path.write_bytes(kept)  # without its last block
    done = run(captures, "-o", str(captures.parent / "out.pcapng"))
    assert done.returncode == 3
    assert b"the zstd frame in it is cut short" in done.stderr
    assert plain(judge.packets(captures.parent / "out.pcapng")) == expected()


def test_too_few_descriptors_for_the_range(captures: Path) -> None:
    """It says how many do, and so many do; whatever is given is all of it."""
    for seq in range(5, 35):
        put(captures, "v0", seq, stream(0, seq * EACH), "raw")
    made = captures.parent / "out.pcapng"
    words = ["extract", "--config", str(captures.parent / "capd.toml"), "--since", at(START)]
    argv = [str(CAPD), *words, "--until", at(START + 10**11), "-o", str(made)]

    def ask(files: int) -> subprocess.CompletedProcess[str]:
        limited = ["prlimit", f"--nofile={files}:{files}", *argv]
        return subprocess.run(limited, capture_output=True, text=True, check=False)

    done = ask(64)
    assert done.returncode == 1
    told = re.fullmatch(
        r"cannot hold all segments of that time open: a process may open 64 files here; allow more "
        r"\(ulimit -n (\d+) is enough\), or ask for less time or for one interface\n",
        done.stderr,
    )
    assert told is not None, done.stderr
    done = ask(int(told[1]))
    assert (done.returncode, len(list(judge.packets(made)))) == (0, 38 * EACH), done.stderr


@pytest.mark.fault(46)
def test_segments_that_are_renamed_meanwhile(captures: Path) -> None:
    """Held once each, whichever name they have when they are looked for."""
    wanted = Wanted((str(captures),), START, START + 10**10)
    (path,) = captures.glob("v0/*/*_0000000002.pcapng")
    names = (path, path.with_name(f"{path.name}.suspect"))
    stop = threading.Event()

    def rename() -> None:
        while not stop.is_set():
            for order in (names, names[::-1]):
                os.rename(*order)
                stop.wait(0.001)

    renamer = threading.Thread(target=rename)
    renamer.start()
    try:
        for _ in range(100):
            with Sources(wanted) as sources:
                held = sources.hold()
                assert sources.vanished == []
            assert {ring: [one.seq for one in segments] for ring, segments in held.items()} == {
                "v0": [1, 2, 3, 4],
                "w0": [1, 2, 3, 4],
            }
    finally:
        stop.set()
        renamer.join()
