"""The hook's command where the machine has nothing left: every run has an answer, none stays."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from capd.delivery.hooks import Hooks
from capd.delivery.program import run
from capd.errors import StorageError
from capd.spool import SEGMENT_CLOSED, Event, Spool
from tests.support.disk import mounted
from tests.support.need import need, need_root
from tests.support.programs import NOON, quoted
from tests.support.wait import wait_for

TRUE = ("/bin/true",)


@contextmanager
def no_threads() -> Iterator[None]:
    """None can be started: there is no room for its stack."""
    threading.stack_size(2**50)
    try:
        yield
    finally:
        threading.stack_size(0)


@pytest.fixture
def hooks(tmp_path: Path) -> Hooks:
    """Of a config with a command that does nothing."""
    config = tmp_path / "capd.toml"
    config.write_text(f'[hook]\nsegment_closed = {quoted(*TRUE)}\n[[interface]]\nname = "v0"\n')
    return Hooks(str(config), Spool(str(tmp_path)))


def left(spool: Spool) -> dict[str, Event]:
    """One event for the hook."""
    facts = {"ring": "v0", "number": "3", "path": "/dev/null"}
    spool.put(Event(SEGMENT_CLOSED, NOON, "a segment", facts, answer=True))
    return dict(spool.waiting())


def assert_answered(hooks: Hooks, spool: Spool, how: str) -> None:
    wait_for(lambda: not hooks._running, 20, "the end of the run")
    assert spool.names() == []
    (name,) = spool.known(SEGMENT_CLOSED)[1]
    result = spool.result(name)
    assert result is not None
    assert (result["ring"], result["number"], result["done"]) == ("v0", "3", False)
    assert how in str(result["how"])
    wait_for(lambda: not hooks.is_busy, 10, "an end of the lingering")


def test_no_thread_for_a_run(hooks: Hooks, tmp_path: Path) -> None:
    spool = Spool(str(tmp_path))
    found = left(spool)
    with no_threads():
        hooks.begin(found)
    assert_answered(hooks, spool, "it was not run: can't start new thread")


def test_no_thread_to_hear_it(tmp_path: Path) -> None:
    """Then it is not run."""
    with no_threads():
        ended = run(("/bin/touch", str(tmp_path / "touched")), {}, "", 5)
    assert ended == (False, "it cannot be started: can't start new thread", "")
    assert not (tmp_path / "touched").exists()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_nobody_expects(hooks: Hooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is answered too."""
    monkeypatch.setattr(socket, "gethostname", _refused)
    spool = Spool(str(tmp_path))
    hooks.begin(left(spool))
    assert_answered(hooks, spool, "an error of capd's own")


def _refused() -> str:
    raise OSError(1, "no name")


def test_no_place_for_an_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is kept until there is: the command is not run again for want of it."""
    config, runs = tmp_path / "capd.toml", tmp_path / "runs"
    command = quoted("/bin/sh", "-c", f"echo run >> {runs}")
    config.write_text(f'[hook]\nsegment_closed = {command}\n[[interface]]\nname = "v0"\n')
    spool, hooks = Spool(str(tmp_path)), Hooks(str(config), Spool(str(tmp_path)))
    Path(spool.results).write_text("no folder")
    with pytest.raises(StorageError, match="Not a directory"):
        spool.answer("a", {})
    found = left(spool)
    hooks.begin(found)
    wait_for(lambda: not hooks._running, 20, "the end of the run")
    for _ in range(2):
        hooks.begin(found)
        assert len(spool.names()) == 1
        assert hooks.is_busy
    assert caplog.text.count("Not a directory; what became of runs") == 1
    Path(spool.results).unlink()
    hooks.begin(found)
    assert spool.names() == []
    (name,) = spool.known(SEGMENT_CLOSED)[1]
    result = spool.result(name)
    assert result is not None
    assert result["done"] is True
    wait_for(lambda: not hooks.is_busy, 10, "an end of the lingering")
    assert runs.read_text() == "run\n"


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps no message from a program: it may be what the message is about."""
    need("mount")
    need_root()
    with mounted("tmpfs", tmp_path, 2**16) as disk:
        disk.fill()
        monkeypatch.setattr(tempfile, "tempdir", str(disk.path))
        assert run(("/bin/cat",), {}, "no room", 20) == (True, "status 0", "no room")
