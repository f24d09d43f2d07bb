"""One target: what it is made of, how it is run, and what came of a run.

libFuzzer does the work, for C as clang builds it in, for Python by way of atheris.  A run begins
with the seeds and the corpus, and leaves both as they are.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
CORPUS = ROOT / "tests" / "corpus"
RUNS = ROOT / "build" / "fuzz"
MADE = "new"  # in the folder of a run: inputs that reached what none did before
FOUND = "found-"  # what a corpus file is called that was a finding once: it stays

# The C of each harness, below capd/, and what it is linked with.
HARNESSES: dict[str, tuple[str, ...]] = {
    "pack": ("capture/_pack.c",),
    "match": ("query/_match.c", "query/_merge.c"),
    "survey": ("_survey.c", "_dissect.c", "_sketch.c"),
}
GUIDED = ("salvage", "index", "config", "convert", "records", "words")
TARGETS = (*HARNESSES, *GUIDED)

_PYTHON = sysconfig.get_config_vars()  # once: two threads must not ask for it first
_FLAGS = (
    *("-std=gnu11", "-g", "-O1", "-fno-omit-frame-pointer", "-Wall", "-Wextra", "-Werror"),
    *("-fsanitize=fuzzer,address,undefined", "-fno-sanitize-recover=all"),
)
_MOST_SECONDS = 20  # of one input, on a machine that is busy
_MOST_MEMORY = 1024  # MiB
_MOST_BYTES = 4096  # of an input
_LAST = re.compile(r"^#\d+\s.*cov: (\d+)", re.MULTILINE)
_RUNS = re.compile(r"^stat::number_of_executed_units: (\d+)", re.MULTILINE)


class Result(NamedTuple):
    """What came of a run."""

    target: str
    runs: int
    seconds: float  # that it took
    edges: int  # of the target's code that some input reached
    new: int  # inputs that reached what no seed and no file of the corpus does
    findings: tuple[Path, ...]
    output: str

    @property
    def line(self) -> str:
        """For people."""
        rate = self.runs / self.seconds
        return (
            f"{self.target:8} {self.runs:9,} runs {rate:8,.0f}/s {self.edges:6,} edges "
            f"{self.new:4} new {len(self.findings)} findings"
        )


def build(target: str, folder: Path, sources: Path = ROOT / "capd") -> Path:
    """Compiles a harness with the C that is below `sources`; gives the program."""
    program = folder / target
    argv = ["clang", *_FLAGS, f"-I{_PYTHON['INCLUDEPY']}", "-o", str(program)]
    argv += [str(ROOT / "tests" / "fuzzing" / f"{target}.c")]
    argv += [str(sources / name) for name in HARNESSES[target]]
    argv += [f"-L{_PYTHON['LIBDIR']}", f"-Wl,-rpath,{_PYTHON['LIBDIR']}"]
    argv += [f"-lpython{_PYTHON['LDVERSION']}", "-lpcap"]
    subprocess.run(argv, check=True)
    return program


@contextmanager
def program_of(target: str) -> Iterator[list[str]]:
    """The beginning of a target's command line."""
    if target in GUIDED:
        yield [sys.executable, "-m", "tests.fuzzing.guided", target]
        return
    with TemporaryDirectory() as folder:
        yield [str(build(target, Path(folder)))]


def corpus(target: str) -> list[Path]:
    """The files that are kept."""
    return sorted((CORPUS / target).glob("*"))


def put(folder: Path, contents: Iterable[bytes]) -> None:
    """A file for each, called by what is in it, as libFuzzer does."""
    folder.mkdir(parents=True, exist_ok=True)
    for content in contents:
        (folder / hashlib.sha1(content, usedforsecurity=False).hexdigest()).write_bytes(content)


def fuzz(target: str, begin: list[str], seconds: int, folder: Path, cwd: Path = ROOT) -> Result:
    """Runs it for so long, or until there is a finding; `folder` keeps what came of it."""
    module = importlib.import_module(f"tests.fuzzing.{target}")
    shutil.rmtree(made := folder / MADE, ignore_errors=True)
    made.mkdir(parents=True)
    (findings := folder / "findings").mkdir(exist_ok=True)
    before = set(findings.iterdir())
    with TemporaryDirectory() as place:
        put(Path(place) / "seeds", module.seeds())
        (words := Path(place) / "words").write_text("".join(map(_entry, _words(module))))
        argv = [*begin, f"-max_total_time={seconds}", f"-artifact_prefix={findings}/"]
        argv += [f"-timeout={_MOST_SECONDS}", f"-rss_limit_mb={_MOST_MEMORY}"]
        argv += [f"-max_len={_MOST_BYTES}", "-print_final_stats=1"]
        argv += [f"-dict={words}"] if _words(module) else []
        argv += [str(made), f"{place}/seeds"]
        argv += [str(CORPUS / target)] if corpus(target) else []
        started = time.monotonic()
        output, code = _run(argv, cwd)
        took = time.monotonic() - started
    found = tuple(sorted(set(findings.iterdir()) - before))
    if code and not found:
        raise RuntimeError(f"{target} ended with {code} and without a finding:\n{output[-4000:]}")
    runs, edges = _RUNS.search(output), _LAST.findall(output)
    count = int(runs[1]) if runs else 0
    new = sum(1 for _ in made.iterdir())
    return Result(target, count, took, int(edges[-1]) if edges else 0, new, found, output)


def replay(begin: list[str], path: Path) -> int:
    """One input alone, with all that there is to say; gives the exit code."""
    return subprocess.run([*begin, str(path)], cwd=ROOT, env=_environment(), check=False).returncode


def minimise(target: str, begin: list[str], folder: Path) -> int:
    """The corpus becomes the fewest of it and of a run's folder that reach all; gives how many."""
    module = importlib.import_module(f"tests.fuzzing.{target}")
    with TemporaryDirectory() as place:
        put(chosen := Path(place) / "chosen", module.seeds())
        seeds = set(chosen.iterdir())
        argv = [*begin, "-set_cover_merge=1", "-use_counters=0", str(chosen), str(folder / MADE)]
        argv += [str(CORPUS / target)] if corpus(target) else []
        output, code = _run(argv, ROOT)
        if code:
            raise RuntimeError(f"{target} cannot be merged:\n{output[-4000:]}")
        kept = [path.read_bytes() for path in sorted(set(chosen.iterdir()) - seeds)]
    for path in corpus(target):
        if not path.name.startswith(FOUND):
            path.unlink()
    put(CORPUS / target, kept)
    return len(kept)


def _run(argv: list[str], cwd: Path) -> tuple[str, int]:
    done = subprocess.run(
        argv,
        cwd=cwd,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.stdout.decode(errors="replace"), done.returncode


def _environment() -> dict[str, str]:
    """Every allocation of the interpreter is one that the sanitizer sees."""
    mine = {"PYTHONHOME": sys.base_prefix, "PYTHONMALLOC": "malloc"}
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | mine


def _words(module: ModuleType) -> Sequence[str]:
    """What stands in its texts, if it reads any."""
    return tuple(getattr(module, "WORDS", ()))


def _entry(word: str) -> str:
    """A line of libFuzzer's dictionary."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in word.encode()) + '"\n'
