"""The benchmark measures what it says: its counting, its command lines, its tables."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.bench import counting, processes
from tests.bench.conditions import ROTATE
from tests.bench.measure import Helpers, Run
from tests.bench.recorders import RECORDERS, Job, Recorder, Waiting
from tests.bench.running import running
from tests.bench.table import summary, table
from tests.bench.whole import PARTS, Part
from tests.support.frames import IMIX, Stream
from tests.support.need import need, need_frame_source
from tests.support.net import Namespace
from tests.support.roots import CHECKOUT
from tests.support.twin import BLOCK, Packet, block
from tests.support.xdp import FrameSource

COUNT = 400  # of two interfaces: fewer than the 1000 that dumpcap's own queue holds
RING = 128 << 20
MOST = 60 * 10**9  # ns that all frames take
# packaging/setup leaves stenotype's package out: it would start to record by itself.
PRESENT = [one for one in RECORDERS if one.name != "stenotype" or shutil.which(one.command)]


def test_recorders_do_their_job(tmp_path: Path) -> None:
    """Two interfaces, with rotation: every frame is found, by the way a recorder is counted."""
    need_frame_source()
    need("capinfos", "dpkg-query", *(one.command for one in PRESENT))
    folders = [tmp_path / one.name for one in PRESENT]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(len(PRESENT)) as pool:  # they wait most of the time
        found = dict(zip(PRESENT, pool.map(_recorded, PRESENT, folders), strict=True))
    assert {one.name: spans for one, spans in found.items() if _packets(spans) != 2 * COUNT} == {}
    for one, folder in zip(PRESENT, folders, strict=True):
        assert sum(map(one.count, one.recorded(folder))) == 2 * COUNT, one.name
        assert all(span.first <= span.last < span.first + MOST for span in found[one]), found[one]
        assert re.fullmatch(r"\d+(\.\d+)+", one.version_number()), one.name


def _recorded(recorder: Recorder, folder: Path) -> list[counting.Span]:
    job = Job(("v0", "v1"), folder, RING, ROTATE)
    with Namespace() as net:
        links = [net.add_veth(one, f"p{one}") for one in job.interfaces]
        with running(recorder, recorder.command_lines(job), job, net) as it:
            processes.wait_until_quiet(lambda: it.look().cpu, 0.3)
            for link in links:
                with FrameSource(Stream(IMIX), link, net.name) as source:
                    source.inject(COUNT)
            processes.wait_until_quiet(lambda: it.look().cpu, 1.5)
            assert it.memory() < 2 * RING, f"{recorder.name}: rings are not to be in it"
            it.end()
    return [span for one in recorder.recorded(folder) if (span := recorder.span(one))]


def _packets(spans: list[counting.Span]) -> int:
    return sum(span.packets for span in spans)


def test_recorder_that_ends_tells_why(tmp_path: Path) -> None:
    """Its last words are what the table has."""
    need_frame_source()
    need("tcpdump")
    tcpdump = RECORDERS[1]
    job = Job(("v0",), tmp_path, RING)
    line = ["tcpdump", "-i", "absent0"]
    with Namespace() as net:
        net.add_veth("v0", "v1")
        with pytest.raises(OSError, match=r"exit status 1: .*absent0"):
            running(tcpdump, [line], job, net).__enter__()


def test_blocks_are_counted(tmp_path: Path) -> None:
    """What the kernel has handed over, and nothing else; stamps of the first and of the last."""
    size = counting.BLOCK_SIZE
    full = [_stamped(3, 100, 200), _stamped(2, 300, 400)]
    kernels = bytearray(_stamped(7, 900, 999))
    kernels[8:12] = bytes(4)  # block_status: still the kernel's
    file = tmp_path / "PKT0" / ".1"
    file.parent.mkdir()
    file.write_bytes(b"".join(full) + bytes(size) + kernels + full[0][: size // 2])
    assert counting.block_files(tmp_path) == [file]
    assert counting.block_packets(file) == 5
    assert counting.block_span(file) == counting.Span(5, 100 * 10**9, 400 * 10**9)


def _stamped(packets: int, first: int, last: int) -> bytes:
    made = bytearray(block([Packet(bytes(60))] * packets, counting.BLOCK_SIZE))
    fields = list(BLOCK.unpack_from(made))
    fields[7:] = [first, 0, last, 0]
    BLOCK.pack_into(made, 0, *fields)
    return bytes(made)


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_parts_are_called_as_they_are(part: Part) -> None:
    """Every word of the full table, and of the quick one, is one that the part knows."""
    parser = importlib.import_module(
        f"{part.module}.__main__" if part.module == "tests.bench" else part.module
    )._parser()
    for words in (part.full, part.quick):
        given = parser.parse_args([*words.split(), "--json", "x"])
        assert given.json == Path("x")


def test_table_is_made_of_the_file(tmp_path: Path) -> None:
    """What was kept as JSON is what the table says: medians, spread, ratios, and who ended."""
    runs = [
        *(_run("capd", 1000, cpu) for cpu in (100e-6, 200e-6, 900e-6)),
        *(_run("tcpdump", 500, cpu) for cpu in (200e-6, 300e-6)),
        _run("dumpcap", 0, 1.0),
    ]
    entry = {
        "condition": "alone",
        "text": "nothing else",
        "shape": "700",
        "frames": 1000,
        "bytes": 700_000,
        "rounds": 3,
        "recorders": {"capd": "", "tcpdump": "ended by itself", "dumpcap": "", "x": "absent"},
        "runs": runs,
        "floors": [50.0, 100.0, 150.0],
        "summary": summary(runs, [50.0, 100.0, 150.0]),
    }
    about = {"machine": ["a machine"], "versions": {"capd": "1"}, "notes": []}
    file = tmp_path / "measured.json"
    file.write_text(json.dumps(about | {"results": [entry]}, default=vars, allow_nan=False))
    shown = _shown(file)
    assert shown[:2] == ["a machine", "capd 1"]
    cells = {one.split("  ")[0]: one.split() for one in shown[2:] if one}
    assert cells["capd"][1:7] == ["0.00", "(0.00-0.00)", "200", "(100-900)", "1.00", "2.0"]
    assert cells["tcpdump"][1:7] == ["50.00", "(50.00-50.00)", "500", "(400-600)", "2.50", "5.0"]
    assert cells["dumpcap"][1:3] == ["100.00", "(100.00-100.00)"]
    assert "1 of 3 rounds: ended by itself" in " ".join(shown)
    assert cells["x"][1:] == ["3", "of", "3", "rounds:", "absent"]
    assert shown[4:] == table(json.loads(file.read_text())["results"][0])[1:]
    assert summary(runs)["tcpdump"]["ratio to capd"] == {"median": 2.5}


def _run(name: str, captured: int, cpu: float) -> Run:
    nothing = Helpers(0.0, 0, 0.0, 0, Waiting(0, paused=False))
    return Run(
        recorder=name,
        shape="700",
        commands=(name,),
        frames=1000,
        captured=captured,
        cpu=cpu,
        start_cpu=0.0,
        stop_cpu=0.0,
        memory=2**20,
        megapackets=1.0,
        gigabits=5.6,
        helpers=nothing,
        dirty=0,
        beside=0,
    )


def _shown(file: Path) -> list[str]:
    words = [sys.executable, "-m", "tests.bench", "--show", str(file)]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=CHECKOUT)
    return done.stdout.splitlines()
