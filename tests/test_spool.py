"""The spool between people who may not write to it, links, and events that nobody takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from capd.daemon.outbox import LATE, Outbox
from capd.errors import StorageError
from capd.spool import Event, Spool
from tests.support.need import need, need_root

CAPD = Path(sys.executable).with_name("capd")
NOON = 1_763_985_600 * 10**9
ALERT = Event("alert", NOON, "v0: lost 5 packets", {"interface": "v0", "packets": "5"})
CONFIG = """
[alert]
command = ["/bin/true"]
[[interface]]
name = "v0"
"""


@pytest.mark.parametrize("mode", [0o750, 0o755])
def test_no_right_to_write(tmp_path: Path, mode: int) -> None:
    """Is not the same as no daemon: `capd alert --test` says who may."""
    need("setpriv")
    need_root()
    (tmp_path / "capd.toml").write_text(CONFIG)
    runtime = tmp_path / "run"
    runtime.mkdir()
    (runtime / "status.json").write_text("{}")
    runtime.chmod(mode)
    os.chown(runtime, 64000, 64000)
    words = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--clear-groups", str(CAPD)]
    done = subprocess.run(
        [*words, "alert", "--test", "--config", str(tmp_path / "capd.toml")],
        env=os.environ | {"RUNTIME_DIRECTORY": str(runtime)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "only root and the user that capd runs as may" in done.stderr
    assert os.listdir(runtime) == ["status.json"]


@pytest.mark.security("links")
def test_a_link_in_its_place(tmp_path: Path) -> None:
    """The folders are capd's, and root writes to them: it is not led elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    spool = Spool(str(tmp_path))
    os.symlink(tmp_path / "elsewhere", spool.events)
    os.symlink(tmp_path / "elsewhere", spool.results)
    with pytest.raises(StorageError, match="cannot open"):
        spool.put(ALERT)
    with pytest.raises(StorageError, match="cannot open"):
        spool.answer("a", {})
    assert os.listdir(tmp_path / "elsewhere") == []


def test_who_asks_takes_nothing(tmp_path: Path) -> None:
    """Two who ask at one time see nobody; who takes events is seen."""
    spool = Spool(str(tmp_path))
    with spool.taken():
        assert spool.is_taken
    assert not spool.is_taken


def test_nobody_takes_events(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Told once a jam, and at the end; not while somebody is at them, however long that takes."""
    spool = Spool(str(tmp_path))
    outbox = Outbox(spool)
    first = spool.put(ALERT)
    spool.put(ALERT._replace(at=NOON + 1))

    def told(now: int) -> int:
        caplog.clear()
        outbox.look(now)
        return caplog.text.count("nobody takes events from ")

    with spool.taken():
        assert [told(now) for now in (0, LATE, 5 * LATE)] == [0, 0, 0]
    assert [told(now) for now in (5 * LATE + 1, 9 * LATE)] == [1, 0]
    spool.remove(first)
    assert [told(now) for now in (10 * LATE, 11 * LATE - 1, 11 * LATE, 12 * LATE)] == [0, 0, 1, 0]
    outbox.end()
    assert caplog.text.count("where 1 wait") == 1
    caplog.clear()
    for name in spool.names():
        spool.remove(name)
    outbox.end()
    assert told(20 * LATE) == 0
    assert not caplog.text


@pytest.mark.parametrize("text", ["", "[]", "[" * 9999])
def test_nonsense_is_no_result(tmp_path: Path, text: str) -> None:
    spool = Spool(str(tmp_path))
    spool.answer("a", {"done": True})
    with open(f"{spool.results}/a", "w") as file:
        file.write(text)
    assert spool.result("a") is None
