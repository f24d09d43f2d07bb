"""The command line itself: what it accepts, what it prints where, and its exit codes."""

from __future__ import annotations

import errno
import os
import re
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd import __version__
from capd.cli.common import shortage
from tests.support.need import need_namespaces
from tests.support.net import Namespace
from tests.support.recorder import CAPD, write_config
from tests.support.wait import wait_for


@pytest.fixture(scope="module")
def net() -> Iterator[Namespace]:
    need_namespaces()
    with Namespace() as namespace:
        namespace.add_veth("v0", "v1")
        yield namespace


@pytest.fixture
def config(tmp_path: Path) -> Path:
    directory = tmp_path / "captures"
    directory.mkdir(0o750)
    return write_config(tmp_path / "capd.toml", directory, "v0", capture='ring_size = "8MiB"')


def capd(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(CAPD), *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["record"], "invalid choice: 'record'"),
        (["check", "--all"], "unrecognized arguments: --all"),
        (["check", "a", "b"], "unrecognized arguments: b"),
        (["check", "--config", "a", "b"], "argument F: not allowed with argument --config"),
        (["tune"], "the following arguments are required: VERB"),
        (["tune", "restore", "--config", "a"], "unrecognized arguments: --config a"),
        (["run", "a"], "unrecognized arguments: a"),
        (["run", "--config"], "argument --config: expected one argument"),
        (["run", "--seconds", "soon"], "'soon' is not a number of seconds above 0"),
        (["run", "--seconds", "0"], "'0' is not a number of seconds above 0"),
        (["run", "--seconds", "-1"], "'-1' is not a number of seconds above 0"),
        (["run", "--seconds", "nan"], "'nan' is not a number of seconds above 0"),
        (["run", "--seconds", "inf"], "'inf' is not a number of seconds above 0"),
        (["extract", "--limit", "0"], "'0' is not a number of 1 or more"),
        (["extract", "--snaplen", "x"], "'x' is not a number of 1 or more"),
    ],
)
def test_wrong_usage(words: list[str], reason: str) -> None:
    done = capd(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("usage: capd")
    assert reason in done.stderr


@pytest.mark.parametrize("since", ["10m", "-10m", "-1.5 h"])
def test_times_as_others_write_them(tmp_path: Path, since: str) -> None:
    """What begins with a dash is no option there."""
    config = write_config(tmp_path / "capd.toml", tmp_path / "none", "v0")
    done = capd("losses", "--config", str(config), "--since", since, "--until", "-1m")
    assert done.returncode == 1
    assert done.stderr.startswith("cannot read ")


def test_version() -> None:
    done = capd("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"capd {__version__}\n", "")


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["check", "--help"]])
def test_help(words: list[str]) -> None:
    done = capd(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: capd")


def test_the_default_config_is_said() -> None:
    assert "default /etc/capd.toml" in capd("check", "--help").stdout
    assert "default /etc/capd.toml" in capd("run", "--help").stdout


def test_two_ways_to_name_the_config(net: Namespace, config: Path) -> None:
    first = net.run([str(CAPD), "check", "--config", str(config)])
    second = net.run([str(CAPD), "check", str(config)])
    assert first.stderr == second.stderr
    assert _steady(first.stdout) == _steady(second.stdout)
    assert first.stdout.startswith("v0\n")


def _steady(text: str) -> list[str]:
    """Without what is another number a moment later: memory and disk."""
    changing = ("  memory ", "  disk ", "  worst case ", " " * 20)
    return [line for line in text.splitlines() if not line.startswith(changing)]


def test_a_config_without_a_name() -> None:
    """`capd check "$FILE"` where FILE is not set is not about /etc/capd.toml."""
    for words in (("check", ""), ("check", "--config", ""), ("list", "--config=")):
        done = capd(*words)
        assert (done.returncode, done.stderr) == (2, "the name of the config file is empty\n")


@pytest.mark.parametrize("words", [["check"], ["run", "--seconds", "9"]])
def test_problems_go_to_standard_error(tmp_path: Path, words: list[str]) -> None:
    done = capd(*words, "--config", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"{tmp_path}/none: cannot be read: No such file or directory\n"


def test_a_reader_that_leaves(net: Namespace, config: Path) -> None:
    """`capd check | head -1`, with a head that is gone already: not a word about it."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            net.command([str(CAPD), "check", str(config)]),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert done.returncode == 0
    assert all(line.startswith(f"{config}: warning: ") for line in done.stderr.splitlines())


def test_a_full_disk_under_the_output(net: Namespace, config: Path) -> None:
    """`capd check > report` must not look as if all had been written."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            net.command([str(CAPD), "check", str(config)]),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "cannot write what there is to say: No space left on device\n"


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words", ["--version", "list --help", "convert tcpdump"])
def test_nowhere_to_say_it(words: str, redirection: str) -> None:
    done = redirected(words, redirection)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch("(cannot write what there is to say: .*\n)?", done.stderr)


@pytest.mark.parametrize("redirection", ["2>&-", "2>/dev/full"])
@pytest.mark.parametrize(
    ("words", "code"), [("", 2), ("check /none.toml", 2), ("finish", 1), ("convert tcpdump", 0)]
)
def test_no_standard_error(words: str, code: int, redirection: str) -> None:
    """The exit code says it alone, and standard output has its own only."""
    done = redirected(words, redirection)
    assert (done.returncode, done.stderr) == (code, "")
    assert ("[[interface]]" in done.stdout, "Traceback" in done.stdout) == (code == 0, False)
    assert "What this line does" not in done.stdout


def test_too_few_descriptors(net: Namespace, config: Path) -> None:
    words = ["tune", "show", "--config", str(config)]
    done = net.run(["prlimit", "--nofile=7", str(CAPD), *words], check=False)
    assert (done.returncode, done.stdout) == (1, "")
    said = "a process may open 7 files here, and that is not enough: raise ulimit -n\n"
    assert done.stderr == said


def test_what_there_is_too_little_of() -> None:
    """A thread that cannot be started is no want of memory, where that has no limit; what else
    goes wrong is a bug, and keeps its traceback."""
    threads = shortage(RuntimeError("can't start new thread"))
    assert (
        threads == "no more threads may be started here: raise ulimit -u, or TasksMax= of the unit"
    )
    assert shortage(MemoryError()) == "there is too little memory"
    for number, advice in ((errno.EMFILE, "raise ulimit -n"), (errno.ENFILE, "raise fs.file-max")):
        assert advice in str(shortage(OSError(number, os.strerror(number))))
    for other in (RuntimeError("x"), SystemError("x"), OSError(errno.ENOSPC, "No space left")):
        assert shortage(other) is None
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**40, before[1]))
    try:
        for error in (MemoryError(), SystemError("x"), RuntimeError("can't start new thread")):
            limit = "a process may have 1 TiB of memory here: raise ulimit -v"
            assert shortage(error) == limit
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def redirected(words: str, redirection: str) -> subprocess.CompletedProcess[str]:
    argv = ["sh", "-c", f"exec {CAPD} {words} {redirection}"]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_interrupted(tmp_path: Path) -> None:
    """Ctrl-C while it reads its config: no traceback."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(
        [str(CAPD), "check", str(fifo)], stderr=subprocess.PIPE, text=True
    ) as process:
        with fifo.open("w"):  # returns once capd has opened its end
            wait_for(lambda: _sleeps_in_a_read(process.pid), 10, "capd to read")
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
        assert process.stderr is not None
        assert process.stderr.read() == ""


def _sleeps_in_a_read(pid: int) -> bool:
    """Whether this process is in read(2), by the number of the call that it is in."""
    call = Path(f"/proc/{pid}/syscall").read_text().split()
    return "fifo" in _file_of(pid, call)


def _file_of(pid: int, call: list[str]) -> str:
    if len(call) < 2 or call[0] == "-1":
        return ""
    link = Path(f"/proc/{pid}/fd/{int(call[1], 16)}")
    return os.readlink(link) if link.is_symlink() else ""
