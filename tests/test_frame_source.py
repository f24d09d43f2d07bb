"""The frame source against tcpdump as the recorder, and the judges against known files."""

from __future__ import annotations

import json
import signal
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.frames import IMIX, LONGEST, Shape, Stream, Tag
from tests.support.inject import arguments
from tests.support.judge import assert_clean, check_numbers, numbers, packets
from tests.support.need import need, need_frame_source
from tests.support.net import Namespace, inside
from tests.support.statistics import interface_statistics
from tests.support.wait import wait_for
from tests.support.xdp import FrameSource

ROOT = Path(__file__).resolve().parent.parent
COUNT = 20_000
RATE = 100_000
UNTAGGED: tuple[Tag, ...] = ()
ONE_TAG: tuple[Tag, ...] = ((0x8100, 0x6000 | 101),)
TWO_TAGS: tuple[Tag, ...] = ((0x88A8, 5), (0x8100, 101))

Frames = list[bytes]


@pytest.fixture
def namespace() -> Iterator[Namespace]:
    """A namespace with the pair v0 and v1."""
    need_frame_source()
    with Namespace() as made:
        made.add_veth("v0", "v1")
        yield made


class Tcpdump:
    """tcpdump, recording v0 of a namespace into `path`."""

    def __init__(self, namespace: Namespace, path: Path) -> None:
        need("tcpdump", "tshark", "capinfos")
        self.path = path
        argv = ["tcpdump", "-i", "v0", "-U", "-B", "131072", "-Z", "root", "-w", str(path)]
        self._program = namespace.popen(argv, stderr=subprocess.PIPE)
        assert self._program.stderr is not None
        said = self._program.stderr.readline()
        assert said.startswith("tcpdump: listening on v0"), said

    def stop_after(self, stream: Stream, count: int) -> None:
        """Ends tcpdump once the file is as long as `count` frames make it."""
        size = 24 + sum(16 + stream.length(stream.first + i) for i in range(count))
        wait_for(lambda: self.path.stat().st_size >= size, 20, f"{size} bytes in {self.path}")
        self._program.send_signal(signal.SIGINT)
        assert self._program.wait(20) == 0


@pytest.mark.parametrize("tags", [UNTAGGED, ONE_TAG, TWO_TAGS], ids=["untagged", "8100", "88a8"])
def test_every_frame_arrives_as_expected(
    namespace: Namespace, tmp_path: Path, tags: tuple[Tag, ...]
) -> None:
    """Numbers, lengths, tags and all bytes; and tshark finds the packets well formed."""
    stream = Stream(IMIX, tags, first=7)
    recorder = Tcpdump(namespace, tmp_path / "recorded.pcap")
    with FrameSource(stream, namespace.index("v0"), namespace.name) as source:
        source.inject_at(RATE, COUNT)
        assert source.sent == COUNT
    recorder.stop_after(stream, COUNT)
    check_numbers([recorder.path], stream, COUNT)
    assert_clean(recorder.path)
    wrong = "_ws.malformed or _ws.expert.severity >= warning or not udp or not ip.checksum.status=="
    argv = ["tshark", "-r", str(recorder.path), "-o", "ip.check_checksum:TRUE", "-Y", f"{wrong}1"]
    assert subprocess.run(argv, capture_output=True, check=True).stdout == b""


@pytest.mark.parametrize("length", [60, 700, 1514, LONGEST])
def test_fixed_lengths_from_a_process_of_its_own(
    namespace: Namespace, tmp_path: Path, length: int
) -> None:
    """The command line injects the same frames, and prints how many."""
    stream = Stream(Shape.fixed(length), TWO_TAGS, first=1 << 40)
    recorder = Tcpdump(namespace, tmp_path / "recorded.pcap")
    argv = arguments(stream, namespace.name, "v0", COUNT, RATE)
    assert subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout == b"20000\n"
    recorder.stop_after(stream, COUNT)
    check_numbers([recorder.path], stream, COUNT)


def test_signals_cut_nothing_short(namespace: Namespace) -> None:
    """A signal interrupts the kernel's loop; all frames are sent nevertheless."""
    signals: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda number, _: signals.append(number))
    try:
        with FrameSource(Stream(IMIX), namespace.index("v0"), namespace.name) as source:
            signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
            source.inject(1_000_000)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert source.sent == 1_000_000
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert signals


def test_namespace_takes_its_processes_along() -> None:
    """What was started in a namespace ends with it, children included."""
    need_frame_source()
    with Namespace() as made:
        child = f"import subprocess; subprocess.run(['{sys.executable}', '-c', 'input()'])"
        program = made.popen(
            [sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
        )
        pids = ["ip", "netns", "pids", made.name]
        wait_for(
            lambda: len(subprocess.check_output(pids).split()) == 2, 10, "the program and its child"
        )
        started = [int(pid) for pid in subprocess.check_output(pids).split()]
    assert program.returncode == -signal.SIGKILL
    paths = [Path(f"/proc/{pid}") for pid in started]
    wait_for(lambda: not any(path.exists() for path in paths), 10, f"the end of {started}")
    with pytest.raises(FileNotFoundError), inside(made.name):
        pass


def write_pcap(path: Path, frames: Frames) -> Path:
    """A file of these frames, one nanosecond apart."""
    content = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 1)
    for time, frame in enumerate(frames):
        content += struct.pack("<IIII", 1, time, len(frame), len(frame)) + frame
    path.write_bytes(content)
    return path


def changed(frames: Frames) -> Frames:
    """One bit of the last byte of frame 5 is wrong."""
    return [*frames[:5], frames[5][:-1] + bytes([frames[5][-1] ^ 1]), *frames[6:]]


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda all_: all_[:5] + all_[6:], r"1 missing \(first 15\)"),
        (lambda all_: all_[:-2], r"2 missing \(first 38\)"),
        (lambda all_: [*all_, all_[5]], r"1 more than once \(first 15\)"),
        (lambda all_: [*all_[:5], all_[6], all_[5], *all_[7:]], r"after a higher one \(first 15\)"),
        (lambda all_: [*all_, Stream(IMIX).expected(40)], r"1 not of these \(first 40\)"),
        (lambda all_: [*all_[:5], all_[5][:-1], *all_[6:]], r"lengths \(1513, 1513\) .* 1514"),
        (changed, "frame 15 differs from byte 1513 on"),
        (lambda all_: [bytes(14), *all_], "too short for a number"),
    ],
)
def test_check_numbers_sees(
    tmp_path: Path, damage: Callable[[Frames], Frames], complaint: str
) -> None:
    """Every way in which a recorder can be wrong, told with the first frame that it hit."""
    need("tcpdump")
    stream = Stream(Shape.fixed(1514), first=10)
    frames = [stream.expected(number) for number in range(10, 40)]
    check_numbers([write_pcap(tmp_path / "good.pcap", frames)], stream, 30)
    with pytest.raises(AssertionError, match=complaint):
        check_numbers([write_pcap(tmp_path / "bad.pcap", damage(frames))], stream, 30)


def test_numbers_of_files_with_a_gap(tmp_path: Path) -> None:
    """Several files, one of them compressed, make one list; a damaged frame is an error."""
    need("tcpdump", "zstd")
    stream = Stream(IMIX)
    first = write_pcap(tmp_path / "first.pcap", [stream.expected(number) for number in (0, 1)])
    second = write_pcap(tmp_path / "second.pcap", [stream.expected(number) for number in (5, 6)])
    subprocess.run(["zstd", "-q", str(second)], check=True)
    compressed = second.with_suffix(".pcap.zst")
    assert numbers([first, compressed], stream) == [0, 1, 5, 6]
    assert [packet.time for packet in packets(compressed)] == [1_000_000_000, 1_000_000_001]
    frames = [stream.expected(number) for number in range(8)]
    with pytest.raises(AssertionError, match="frame 5 differs from byte 1513 on"):
        numbers([write_pcap(tmp_path / "bad.pcap", changed(frames))], stream)


def test_a_file_that_ends_early_is_not_clean(tmp_path: Path) -> None:
    """The judges pass the tools' complaints on."""
    need("tcpdump", "tshark", "capinfos")
    path = write_pcap(tmp_path / "cut.pcap", [Stream(IMIX).expected(0)])
    assert_clean(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(AssertionError, match="cut short"):
        assert_clean(path)
    with pytest.raises(AssertionError, match="truncated"):
        list(packets(path))


def test_interface_statistics_are_what_tshark_reads(namespace: Namespace, tmp_path: Path) -> None:
    """dumpcap writes a statistics block; both readers give the same numbers."""
    need("dumpcap", "tshark")
    path = tmp_path / "recorded.pcapng"
    argv = ["dumpcap", "-q", "-i", "v0", "-c", "1000", "-w", str(path)]
    program = namespace.popen(argv, stderr=subprocess.DEVNULL)
    wait_for(lambda: path.exists() and path.stat().st_size, 20, "dumpcap's file")
    with FrameSource(Stream(IMIX), namespace.index("v0"), namespace.name) as source:
        source.inject(1000)
    assert program.wait(20) == 0
    (found,) = interface_statistics(path)
    fields = [f"pcapng.options.option.data.interface.{name}" for name in ("received", "dropped")]
    argv = ["tshark", "-r", str(path), "-X", "read_format:MIME Files Format", "-T", "json"]
    argv += [word for field in fields for word in ("-e", field)]
    (frame,) = json.loads(subprocess.run(argv, capture_output=True, check=True).stdout)
    told = [int(frame["_source"]["layers"][field][0]) for field in fields]
    assert told == [found.received, found.dropped] == [1000, 0]


def test_wait_for_names_what_did_not_come() -> None:
    """The message is all that a failed run leaves behind."""
    with pytest.raises(AssertionError, match="in vain for the moon; last: 0"):
        wait_for(lambda: 0, 0.01, "the moon")


def test_a_missing_tool_skips_but_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """A skip in CI would be a test that nobody runs."""
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="not installed: no-such-tool"):
        need("sh", "no-such-tool")
    monkeypatch.setenv("CI", "1")
    with pytest.raises(pytest.fail.Exception, match="not installed: no-such-tool"):
        need("no-such-tool")
