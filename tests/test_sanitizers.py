"""`_pack.c` under the address and undefined behaviour sanitizers.

A copy is compiled with them; then all of test_pack*.py and a while of fuzz_pack.py run
over that copy.  A fuzz run that fails names its seed and round.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.support.need import need
from tests.support.packing import PLACE

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "capd" / "capture" / "_pack.c"
TESTS = sorted(str(path) for path in (ROOT / "tests").glob("test_pack*.py"))
SEED = 1
SECONDS = 20


def build(folder: Path, source: str) -> Path:
    """Compiles the module into `folder`; no finding is survived."""
    need("gcc")
    (folder / "_pack.c").write_text(source)
    argv = ["gcc", "-std=gnu11", "-g", "-O1", "-fPIC", "-shared", "-fno-omit-frame-pointer"]
    argv += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra"]
    argv += ["-Werror", f"-I{sysconfig.get_paths()['include']}"]
    argv += [str(folder / "_pack.c"), "-o", str(folder / "_pack.so")]
    subprocess.run(argv, check=True)
    return folder


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs Python with the module in `folder`, every allocation of it watched."""
    argv = ["gcc", "-print-file-name=libasan.so"]
    library = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    environment = os.environ | {
        "LD_PRELOAD": library,
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter itself never frees everything
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",
        PLACE: str(folder),
    }
    return subprocess.run(
        [sys.executable, *words],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the watched module."""
    return build(tmp_path_factory.mktemp("sanitized"), SOURCE.read_text())


def test_all_tests_of_pack(sanitized: Path) -> None:
    """Sound, malformed and random blocks, arguments and leaks."""
    done = run(sanitized, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS)
    assert done.returncode == 0, done.stdout[-8000:]


def test_fuzz(sanitized: Path, tmp_path: Path) -> None:
    """Damaged blocks, the same in every run."""
    trace = tmp_path / "round"
    words = ["--seed", str(SEED), "--seconds", str(SECONDS), "--trace", str(trace)]
    done = run(sanitized, "-m", "tests.fuzz_pack", *words)
    print(done.stdout)
    assert done.returncode == 0, f"{trace.read_text()}: {done.stdout[-8000:]}"


@pytest.mark.parametrize(
    ("check", "broken", "finding"),
    [
        (" || stored > room - header.tp_mac", "", "heap-buffer-overflow"),
        ("walk->block_size - at < LEAST_RECORD", "0", "heap-buffer-overflow"),
        ("if (length > walk->out_size - walk->end)", "if (0)", "heap-buffer-overflow"),
        ("header.tp_len > UINT32_MAX - tag ? UINT32_MAX :", "0 ? 0 :", "instead of"),
        ("stamp < walk->since ||", "", "instead of"),
        ("|| stamp >= walk->until", "", "instead of"),
    ],
)
def test_a_missing_check_is_found(tmp_path: Path, check: str, broken: str, finding: str) -> None:
    """The fuzz run is worth something: without one of its checks the module fails it."""
    source = SOURCE.read_text()
    assert source.count(check) == 1
    folder = build(tmp_path, source.replace(check, broken))
    done = run(folder, "-m", "tests.fuzz_pack", "--seed", str(SEED), "--seconds", "30")
    assert done.returncode != 0
    assert finding in done.stdout
