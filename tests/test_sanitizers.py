"""The C modules under the address and undefined behaviour sanitizers.

A copy of each is compiled with them; then all of its tests and a while of its fuzzer run
over that copy.  A fuzz run that fails names its seed and round.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tomllib
from functools import cache
from pathlib import Path

import pytest

from tests.support.compiled import PLACE
from tests.support.need import need

ROOT = Path(__file__).resolve().parent.parent
SEED = 1
SECONDS = 6
# What is about a module: its tests, and the program that feeds it damaged input.
MODULES = {
    "_pack": ("test_pack[._]*", "tests.fuzz_pack"),
    "_survey": ("test_survey[._]*", "tests.fuzz_survey"),
    "_match": ("test_match[._]*", "tests.fuzz_match"),
    "_merge": ("test_match[._]*", "tests.fuzz_match"),
}
every_module = pytest.mark.parametrize("module", MODULES)


@cache
def _modules() -> dict[str, dict[str, list[str]]]:
    """How each is built for people."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    made = project["tool"]["setuptools"]["ext-modules"]
    return {one["name"].rpartition(".")[2]: one for one in made}


def sources() -> dict[str, list[Path]]:
    """The C files of each module."""
    return {
        name: [ROOT / path for path in (*made["sources"], *made.get("depends", ()))]
        for name, made in _modules().items()
    }


def libraries() -> dict[str, list[str]]:
    """What each is linked with."""
    return {name: made.get("libraries", []) for name, made in _modules().items()}


def test_every_module_is_watched() -> None:
    """A new one needs tests and a fuzzer."""
    assert sources().keys() == MODULES.keys()


def build(folder: Path, module: str, replaced: tuple[str, str] = ("", "")) -> Path:
    """Compiles the module into `folder`, one text in it replaced; no finding is survived."""
    need("gcc")
    check, broken = replaced
    count = 0
    for path in sources()[module]:
        content = path.read_text()
        count += content.count(check)
        copy = folder / path.relative_to(ROOT / "capd")
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(content.replace(check, broken) if check else content)
    assert not check or count == 1
    argv = ["gcc", "-std=gnu11", "-g", "-O1", "-fPIC", "-shared", "-fno-omit-frame-pointer"]
    argv += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Wextra"]
    argv += ["-Werror", f"-I{sysconfig.get_paths()['include']}", "-o", f"{folder}/{module}.so"]
    argv += [str(path) for path in sorted(folder.rglob("*.c"))]
    argv += [f"-l{library}" for library in libraries()[module]]
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
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of the watched modules."""
    return {module: build(tmp_path_factory.mktemp(module), module) for module in MODULES}


@pytest.mark.fault(19)
@every_module
def test_all_tests(sanitized: dict[str, Path], module: str) -> None:
    """Sound, malformed and random input, arguments and leaks."""
    tests = sorted(str(path) for path in (ROOT / "tests").glob(MODULES[module][0]))
    done = run(sanitized[module], "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests)
    assert done.returncode == 0, done.stdout[-8000:]


@pytest.mark.fault(19)
@every_module
def test_fuzz(sanitized: dict[str, Path], tmp_path: Path, module: str) -> None:
    """Damaged input, the same in every run."""
    trace = tmp_path / "round"
    words = ["--seed", str(SEED), "--seconds", str(SECONDS), "--trace", str(trace)]
    done = run(sanitized[module], "-m", MODULES[module][1], *words)
    print(done.stdout)
    assert done.returncode == 0, f"{trace.read_text()}: {done.stdout[-8000:]}"


@pytest.mark.fault(19)
@pytest.mark.parametrize(
    ("module", "check", "broken", "finding"),
    [
        ("_pack", " || stored > room - header.tp_mac", "", "heap-buffer-overflow"),
        ("_pack", "walk->block_size - at < LEAST_RECORD", "0", "heap-buffer-overflow"),
        ("_pack", "if (length > walk->out_size - walk->end)", "if (0)", "heap-buffer-overflow"),
        ("_pack", "header.tp_len > UINT32_MAX - tag ? UINT32_MAX :", "0 ? 0 :", "instead of"),
        ("_pack", "stamp < walk->since ||", "", "instead of"),
        ("_pack", "|| stamp >= walk->until", "", "instead of"),
        ("_survey", "if (*length > left)", "if (0)", "AddressSanitizer"),
        ("_survey", "if (left < LEAST_BLOCK)", "if (0)", "heap-buffer-overflow"),
        ("_survey", "if (padded > end - option->value)", "if (0)", "AddressSanitizer"),
        ("_survey", "return at <= packet->captured && size", "return size", "instead of"),
        ("_survey", "size <= packet->captured - at", "size < 9", "instead of"),
        ("_survey", "packet.at = captured;", "return;", "instead of"),
        ("_survey", "if (fragment & 0x1FFF)", "if (0)", "instead of"),
        ("_match", "packet.stamp < search->until &&", "", "instead of"),
        ("_merge", "head->key >= merge->up_to", "0", "instead of"),
        ("_merge", "each[i].key = oldest;", "", "instead of"),
        ("_survey", "(size_t)(packet->data[header] & 0x3F) * 4", "0", "instead of"),
    ],
)
def test_a_missing_check_is_found(
    tmp_path: Path, module: str, check: str, broken: str, finding: str
) -> None:
    """The fuzz run is worth something: without one of its checks the module fails it."""
    folder = build(tmp_path, module, (check, broken))
    done = run(folder, "-m", MODULES[module][1], "--seed", str(SEED), "--seconds", "60")
    assert done.returncode != 0
    assert finding in done.stdout
