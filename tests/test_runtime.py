"""The runtime directory between users: nobody leads a daemon elsewhere, or reads its config."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from capd.errors import StorageError
from capd.runtime import RuntimeDirectory
from tests.support.need import need_root

STRANGER = 64000


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That of the daemon."""
    path = tmp_path / "run"
    path.mkdir()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(path))
    return path


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file that somebody wants the daemon to write to."""
    path = tmp_path / "victim"
    path.write_text("whole")
    return path


@pytest.mark.security("links")
def test_it_belongs_to_somebody_else(folder: Path) -> None:
    """Who can put anything into it, at any time: root keeps out."""
    need_root()
    os.chown(folder, STRANGER, STRANGER)
    with pytest.raises(StorageError, match=f"it belongs to user {STRANGER} and capd runs as 0"):
        RuntimeDirectory().__enter__()
    assert (folder / "lock").read_text() == ""


@pytest.mark.security("links")
def test_a_link_in_place_of_the_lock(folder: Path, victim: Path) -> None:
    (folder / "lock").symlink_to(victim)
    with pytest.raises(StorageError, match="cannot use the runtime directory"):
        RuntimeDirectory().__enter__()
    assert victim.read_text() == "whole"


@pytest.mark.security("modes", "links")
def test_the_copy_of_the_config_is_private(folder: Path, victim: Path) -> None:
    """Whatever the umask, and whatever lies where it is made."""
    config = victim.with_name("capd.toml")
    config.write_text("secret = 1\n")
    with RuntimeDirectory() as runtime:
        Path(f"{runtime.last_good}.new").symlink_to(victim)
        before = os.umask(0)
        try:
            runtime.remember(str(config))
        finally:
            os.umask(before)
        assert Path(runtime.last_good).read_text() == "secret = 1\n"
        assert stat.S_IMODE(os.stat(runtime.last_good).st_mode) == 0o600
    assert victim.read_text() == "whole"
