"""A reload costs no packet, changes what it says it changes, and a bad file changes nothing."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from tests.support import judge
from tests.support.frames import FIRST_SOURCE_PORT
from tests.support.ledger import assert_all_clean, complaints
from tests.support.load import RATE, STREAM, more, steady
from tests.support.net import Namespace
from tests.support.recorder import Recorder, parts, segments, write_config
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

pytestmark = pytest.mark.fault(43)

CAPTURE = 'ring_size = "64MiB"\nflush_interval = "200ms"'
UNTRUE = re.compile(r"segment (\d+) goes on under a header that does not hold any more")
# Flows that a filter lets through, of sixteen: 4 to 7 pass both, 12 to 15 neither.
FILTERS = {
    f"udp src portrange {FIRST_SOURCE_PORT + low}-{FIRST_SOURCE_PORT + low + 7}": range(
        low, low + 8
    )
    for low in (0, 4)
}


def _filter_of(path: Path) -> tuple[str, int]:
    """The filter in a segment's header, and since when it was in force (ns since 1970)."""
    content = path.read_bytes()[:4096]
    (found,) = [text for text in FILTERS if text.encode() in content]
    stamp = re.search(rb"filter since (\S+)\.(\d{9})Z", content)
    if stamp is None:
        return found, 0
    moment = datetime.fromisoformat(f"{stamp[1].decode()}+00:00")
    return found, int(moment.timestamp()) * 10**9 + int(stamp[2])


def test_a_hundred_filters(net: Namespace, tmp_path: Path) -> None:
    """What passes both is there once, what passes neither is not, and headers tell the truth."""
    index = net.add_veth("v0", "v1")
    path, reloads = tmp_path / "capd.toml", 100
    texts = list(FILTERS)

    def write(number: int) -> None:
        capture = f'{CAPTURE}\nfilter = "{texts[number % 2]}"'
        write_config(path, tmp_path, "v0", capture=capture)

    write(0)
    with Recorder(net, path) as capd:
        capd.wait_capturing("v0")
        worker = capd.worker()
        with steady(net.name, index, STREAM) as source:
            for number in range(1, reloads + 1):
                write(number)
                assert capd.reload() == (
                    f"v0: filter '{texts[(number - 1) % 2]}' -> '{texts[number % 2]}'\n"
                )
        assert capd.worker() == worker
        assert capd.stop() == 0
    found = segments(tmp_path, "v0")
    numbers = judge.numbers(found, STREAM)
    assert numbers == sorted(set(numbers))
    both = [number for number in numbers if number % 16 in range(4, 8)]
    assert both == [number for number in range(source.sent) if number % 16 in range(4, 8)]
    assert not [number for number in numbers if number % 16 in range(12, 16)]
    assert capd.summary("v0").lost == 0
    # The next file was late, as the disk is busy with other tests: it was told, and is rare.
    told = {int(match[1]) for line in capd.lines if (match := UNTRUE.search(line))}
    assert len(told) < reloads // 10
    for segment in found:
        if int(segment.stem.rpartition("_")[2]) in told:
            continue
        text, since = _filter_of(segment)
        late = [one for one in judge.packets(segment) if one.time >= since]
        strange = [STREAM.number_in(one.data) for one in late]
        assert not [one for one in strange if one is not None and one % 16 not in FILTERS[text]]
    assert_all_clean(found)
    others = [line for line in complaints(capd) if not UNTRUE.search(line)]
    assert [line for line in others if "at link speed" not in line] == []
    assert parts(tmp_path, "v0") == []


def test_ten_rings(net: Namespace, tmp_path: Path) -> None:
    """Each succeeds the one before at an instant: every packet once."""
    index = net.add_veth("v0", "v1")
    path = tmp_path / "capd.toml"
    sizes = ("64MiB", "96MiB")
    write_config(path, tmp_path, "v0", capture=CAPTURE)
    with Recorder(net, path) as capd:
        capd.wait_capturing("v0")
        with steady(net.name, index) as source:
            for number in range(1, 11):
                more(source)
                capture = CAPTURE.replace("64MiB", sizes[number % 2])
                write_config(path, tmp_path, "v0", capture=capture)
                before, after = (
                    size.replace("MiB", " MiB")
                    for size in (sizes[(number - 1) % 2], sizes[number % 2])
                )
                assert capd.reload() == f"v0: ring_size {before} -> {after}, with a new ring\n"
            more(source)
        assert capd.stop() == 0
    found = segments(tmp_path, "v0")
    totals = capd.totals("v0")
    judge.check_numbers(found, STREAM, source.sent)
    assert_all_clean(found)
    assert parts(tmp_path, "v0") == []
    assert (totals["lost"], totals["written"]) == (0, source.sent)
    assert totals["received"] == totals["written"] + totals["overlap"]
    assert totals["overlap"] > 0
    assert [line for line in complaints(capd) if "at link speed" not in line] == []


def test_rotation_changes_in_the_same_segment(net: Namespace, tmp_path: Path) -> None:
    index = net.add_veth("v0", "v1")
    path = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE)
    with Recorder(net, path) as capd, FrameSource(STREAM, index, net.name) as source:
        capd.wait_capturing("v0")
        worker = capd.worker()
        source.inject_at(RATE, RATE)
        write_config(path, tmp_path, "v0", capture=f'{CAPTURE}\nrotate_size = "8MiB"')
        assert capd.reload() == "v0: rotate_size 1 GiB -> 8 MiB\n"
        assert capd.reload() == "nothing changed\n"
        source.inject(4 * RATE)
        wait_for(lambda: len(segments(tmp_path, "v0")) > 2, 20, "segments of 8 MiB")
        assert capd.worker() == worker
        assert capd.stop() == 0
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, 5 * RATE)


def test_another_directory(net: Namespace, tmp_path: Path) -> None:
    """The old one gets its last segment closed, the new one goes on without a gap."""
    index = net.add_veth("v0", "v1")
    old, new = tmp_path / "old", tmp_path / "new"
    path = write_config(tmp_path / "capd.toml", old, "v0", capture=CAPTURE)
    with Recorder(net, path) as capd:
        capd.wait_capturing("v0")
        with steady(net.name, index) as source:
            more(source)
            write_config(path, new, "v0", capture=CAPTURE)
            assert capd.reload() == f"v0: directory {old} -> {new}, with a new ring\n"
            more(source)
        assert capd.stop() == 0
    assert segments(old, "v0")
    assert segments(new, "v0")
    judge.check_numbers(segments(old, "v0") + segments(new, "v0"), STREAM, source.sent)


def test_interfaces_come_and_go(net: Namespace, tmp_path: Path) -> None:
    """One is added and taken away again; the other does not notice."""
    index = net.add_veth("v0", "v1")
    net.add_veth("w0", "w1")
    path = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE)
    with Recorder(net, path) as capd:
        capd.wait_capturing("v0")
        worker = capd.worker()
        with steady(net.name, index) as source:
            more(source)
            write_config(path, tmp_path, "v0", "w0", capture=CAPTURE)
            assert capd.reload().startswith("w0: capturing everything into ")
            wait_for(lambda: len(capd.workers()) == 2, 20, "a second worker")
            write_config(path, tmp_path, "v0", capture=CAPTURE)
            assert capd.reload() == "w0: no longer captured\n"
            more(source)
        wait_for(lambda: capd.workers() == [worker], 20, "the end of the second worker")
        assert capd.stop() == 0
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, source.sent)


@pytest.mark.fault(18)
@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("[storage\n", ["capd.toml: "]),
        (
            '[capture]\nsnaplen = 96\nfilter = "port http or"\n[[interface]]\nname = "v0"\n',
            ["capture.snaplen: ", "capture.filter: "],
        ),
        ('[storage]\ndirectory = "/proc/x"\n[[interface]]\nname = "v0"\n', ["storage.directory: "]),
        (
            '[capture]\nring_size = "64GiB"\n[[interface]]\nname = "v0"\n',
            ["the rings come to 64 GiB"],
        ),
    ],
    ids=["no TOML", "two problems", "a directory that cannot be", "too much memory"],
)
def test_a_bad_file_changes_nothing(
    net: Namespace, tmp_path: Path, text: str, reasons: list[str]
) -> None:
    index = net.add_veth("v0", "v1")
    path = write_config(tmp_path / "capd.toml", tmp_path, "v0", capture=CAPTURE)
    with Recorder(net, path) as capd:
        capd.wait_capturing("v0")
        worker = capd.worker()
        with steady(net.name, index) as source:
            more(source)
            path.write_text(text)
            done = capd.order("reload")
            assert (done.returncode, done.stdout) == (1, "")
            for reason in reasons:
                assert reason in done.stderr
                capd.wait_line(re.escape(reason))
            capd.wait_line("is not used: what was in force stays")
            more(source)
        assert capd.worker() == worker
        assert capd.stop() == 0
    judge.check_numbers(segments(tmp_path, "v0"), STREAM, source.sent)
