"""Where a soak takes place: a booted machine with two small disks and two interfaces."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path

from capd.status import Status, read
from tests.soaking.settings import INTERFACES, SHARE, Settings
from tests.support.disk import Disk, mounted
from tests.support.machine import CAPTURES, Machine
from tests.support.roots import System

MIB = 2**20
SIZES = {"first": 260 * MIB, "second": 200 * MIB}
HOOK = "/usr/local/bin/note-segment"
HOOKED = "note-of-segments"
FOREIGN = "somebody-elses.pcapng"
_HOOK = f"""#!/bin/sh
sleep 0.2
echo "$CAPD_RING $CAPD_NUMBER $CAPD_PACKETS" >>{CAPTURES}/{HOOKED}
"""


class Ground(Machine):
    """That machine; capd is installed there, configured and not started."""

    def __init__(self, system: System = System.HOST) -> None:
        super().__init__(system)
        self.disks: dict[str, Disk] = {}

    def _boot(self, duty: ExitStack) -> None:
        # Before the boot: a mount that is made here later is not seen there.
        for name, size in SIZES.items():
            folder = self.captures / name
            folder.mkdir(mode=0o755)
            self.disks[name] = duty.enter_context(mounted("ext4", folder, size))
        super()._boot(duty)
        for name in SIZES:
            self.run("chown", "capd:capd", self.place(name))
            (self.disks[name].path / FOREIGN).write_text("not capd's")
        hook = self.root / HOOK[1:]
        hook.write_text(_HOOK)
        hook.chmod(0o755)
        self.configure(Settings())

    def place(self, name: str) -> str:
        """A disk's directory, as it is called inside."""
        return f"{CAPTURES}/{self.disks[name].path.relative_to(self.captures)}"

    def configure(self, settings: Settings, more: str = "") -> None:
        """Write /etc/capd.toml; nobody reads it yet."""
        first, second = map(self.place, SIZES)
        self.write_config(settings.text(first, second, HOOK) + more)

    def reserve(self, name: str) -> int:
        """How much of a disk must stay free."""
        space = os.statvfs(self.disks[name].path)
        return space.f_blocks * space.f_frsize * (100 - SHARE) // 100

    def make(self, which: int) -> int:
        """One of the interfaces, up; its index."""
        return self.add_veth(INTERFACES[which], f"peer{which}")

    @property
    def status(self) -> Status:
        """As the daemon wrote it last; StorageError if there is none."""
        return read(f"/proc/{self.pid}/root/run/capd/status.json")

    @property
    def hooked(self) -> set[tuple[str, int]]:
        """The segments that the hook was run for."""
        path: Path = self.captures / HOOKED
        lines = path.read_text().splitlines() if path.exists() else []
        return {(line.split()[0], int(line.split()[1])) for line in lines}
