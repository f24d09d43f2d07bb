"""What all tests share: a private network, and where `CI` is set, that a skip is a failure."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from tests.support.need import need, need_frame_source, need_root
from tests.support.net import Namespace


def pytest_sessionstart() -> None:
    """Programs that tests interrupt must hear of it, also where a shell starts us with `&`."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Every capd that a test starts keeps away from one that runs on this machine."""
    os.environ["RUNTIME_DIRECTORY"] = str(tmp_path_factory.mktemp("run"))


@pytest.fixture
def net() -> Iterator[Namespace]:
    """A private network in which frames can be injected, and the tools that judge files."""
    need_root()
    need("ip", "tcpdump", "tshark", "capinfos")
    need_frame_source()
    with Namespace() as namespace:
        yield namespace


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
