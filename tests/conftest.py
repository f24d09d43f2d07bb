"""What all tests share: a private network, and where `CI` is set, that a skip is a failure."""

from __future__ import annotations

import fcntl
import os
import signal
import zlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.machine import Machine
from tests.support.need import need, need_frame_source, need_root
from tests.support.net import Namespace
from tests.support.roots import WITH_CAPD

# Files that take a minute and more: where files are run beside each other, each of the last to be
# begun is to be short, or it would run on while nothing is left for the others.
LONG = (
    *("test_faults.py", "test_follow.py", "test_images.py", "test_package.py"),
    *("test_reaper_faults.py", "test_reload.py", "test_service.py", "test_takeover.py"),
    *("test_tuning_killed.py", "test_units_of_systemd.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long ones first; pytest-xdist keeps the order, as tests/run tells it to."""
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_sessionstart() -> None:
    """Programs that tests interrupt must hear of it, also where a shell starts us with `&`.

    And of a terminal that is closed, also where `nohup` starts us, whom it need not trouble.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda *_: None)  # which no other program inherits


@pytest.fixture(scope="session", autouse=True)
def runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every capd that a test starts keeps away from one that runs on this machine."""
    os.environ["RUNTIME_DIRECTORY"] = str(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def testrun_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the processes have in common among which pytest-xdist divides the tests."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(autouse=True)
def company(request: pytest.FixtureRequest, testrun_folder: Path) -> Iterator[None]:
    """Tests run beside each other, but for those that are marked `alone`."""
    alone = request.node.get_closest_marker("alone") is not None
    how = fcntl.LOCK_EX if alone else fcntl.LOCK_SH
    with (
        _locked(testrun_folder / "queue", fcntl.LOCK_EX) as queue,  # or one waits for ever
        _locked(testrun_folder / "running", how),
    ):
        fcntl.flock(queue, fcntl.LOCK_UN)
        if alone:
            os.sync()  # the disk may still be busy with what the others wrote
        yield


@contextmanager
def _locked(path: Path, how: int) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, how)
        yield fd
    finally:
        os.close(fd)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What a test wrote need not be text; pytest-xdist only passes on what is.

    A failure comes with what the machine said on which it was.
    """
    report = yield
    if report.failed:
        machines = {one for one in item.funcargs.values() if isinstance(one, Machine)}
        report.sections += [("Journal of the machine", one.said()) for one in machines]
    report.sections = [
        (name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture
def net() -> Iterator[Namespace]:
    """A private network in which frames can be injected, and the tools that judge files."""
    need_root()
    need("ip", "tcpdump", "tshark", "capinfos")
    need_frame_source()
    with Namespace() as namespace:
        yield namespace


@pytest.fixture(scope="module", params=WITH_CAPD, ids=lambda system: system.value)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A booted systemd of each system that has capd put in."""
    need_frame_source()
    with Machine(request.param) as booted:
        yield booted


@pytest.fixture
def interface(machine: Machine, request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """The name and index of a new one there; afterwards nobody captures, and it is gone."""
    name = f"t{zlib.crc32(request.node.name.encode()) % 10**6}"
    index = machine.add_veth(name, f"{name}p")
    yield name, index
    machine.run("systemctl", "stop", "capd", check=False)
    machine.net.delete_link(name)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a good exit code into a bad one if something was skipped."""
    if _skips_that_count(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say why the exit code is bad although no test failed."""
    if skips := _skips_that_count(config):
        terminalreporter.write_line(f"{skips} skipped: in CI that is a failure", red=True)


def _skips_that_count(config: pytest.Config) -> int:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or not isinstance(reporter, pytest.TerminalReporter):
        return 0
    return len(reporter.stats.get("skipped", []))
