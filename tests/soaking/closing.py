"""The end of a soak: all comes to rest, is stopped, and is held against what was sent."""

from __future__ import annotations

import json
import time
from contextlib import suppress

from capd.losses import Loss
from tests.soaking.ground import FOREIGN
from tests.soaking.processes import growths
from tests.soaking.settings import INTERFACES
from tests.soaking.soak import Soak
from tests.soaking.summary import Summary
from tests.support import judge
from tests.support.recorder import parts
from tests.support.service import is_active
from tests.support.wait import wait_for

_REST = 90.0  # seconds until all that waits is done
_KEPT = 4  # descriptors: of two rings, each with its page
_NOTICED = 0.5  # seconds without a link that are on record for certain


class Closing:
    """Of a soak that has run."""

    def __init__(self, soak: Soak) -> None:
        self._soak = soak
        self._log = soak.log
        self._ground = soak.ground

    def summary(self, minutes: float, seed: int) -> Summary:
        """Come to rest, stop, and compare."""
        soak = self._soak
        self._log.act("end", "the end: no more acts")
        self._rest()
        self._stop()
        self._read_all()
        lost = soak.books.lost()
        self._check_losses(lost)
        soak.books.check_extracts()
        self._check_growth()
        self._check_units()
        return Summary.of(soak, minutes, seed, lost)

    def _rest(self) -> None:
        soak = self._soak
        for one in soak.extracts:
            one.end()
        try:
            wait_for(lambda: is_active(self._ground), 30, "capd.service")
            wait_for(self._rings_kept, 30, f"{_KEPT} descriptors kept by systemd")
            for sender in soak.senders:
                sender.end()
            with suppress(AssertionError):
                wait_for(lambda: not self._not_hooked(), _REST, "the hook")
            for ring, keys in self._not_hooked().items():
                moments = {seq: soak.copies.gone_at.get((ring, seq)) for seq in keys}
                gone = {seq: at and f"{at - self._log.begun:.1f} s" for seq, at in moments.items()}
                self._log.problem(
                    f"the hook was not run for {keys} of {ring}, and none is told; deleted at "
                    f"{gone}; {self._ground.status.hook}"
                )
        except AssertionError as error:
            self._log.problem(str(error))

    def _not_hooked(self) -> dict[str, list[int]]:
        """By ring the segments that it was not run for, and that were not told as missed."""
        soak, hooked = self._soak, self._ground.hooked
        soak.tick()
        soak.journals.read()
        found = {}
        for ring in INTERFACES:
            keys = {seq for name, seq in soak.copies.keys if name == ring}
            done = {seq for name, seq in hooked if name == ring}
            # It begins with what is finished from then on, and the newest may still have to move.
            owed = {seq for seq in keys if min(done, default=0) < seq < max(keys)}
            told = {seq for name, seq in soak.journals.missed if name == ring}
            if without := owed - done - told:
                found[ring] = sorted(without)
        return found

    def _rings_kept(self) -> bool:
        self._soak.tick()
        return self._ground.property("NFileDescriptorStore") == str(_KEPT)

    def _stop(self) -> None:
        self._ground.systemctl("stop", "capd")
        soak = self._soak
        soak.end()
        soak.journals.read()
        for name, disk in self._ground.disks.items():
            if not (disk.path / FOREIGN).exists():
                self._log.problem(f"a file that is not capd's is gone from the {name} disk")
            for interface in INTERFACES:
                for part in parts(disk.path, interface):
                    if part.stat().st_size and list(judge.packets(part)):
                        self._log.problem(f"{part} is left, with packets, on the {name} disk")

    def _read_all(self) -> None:
        soak = self._soak
        try:
            wait_for(lambda: not soak.alive, 60, "senders, copies and extractions to end")
        except AssertionError as error:
            self._log.problem(str(error))
            for extract in soak.extracts:
                extract.kill()
            wait_for(lambda: not soak.alive, 10, "what was killed")
        soak.copies.look()
        self._log.say(f"{soak.books.waiting + len(soak.copies.found)} files are still to be read")
        while soak.copies.found or soak.books.waiting:
            soak.books.collect(soak.copies, soak.extracts)
            soak.books.settle()
            time.sleep(0.05)

    def _check_losses(self, lost: dict[str, tuple[int, int]]) -> None:
        """What is missing is on record, to the frame."""
        words = ("--since", "7d", "--json")
        done = self._ground.run("capd", "losses", *words, check=False)
        told = json.loads(done.stdout)["losses"]
        records = [Loss(**one) for one in told]
        for name, (missing, doubted) in lost.items():
            counted = sum(one.packets or 0 for one in records if one.interface == name)
            at_most = any(one.at_most for one in records if one.interface == name)
            if not missing <= counted or (counted > missing + doubted and not at_most):
                self._log.problem(
                    f"{name}: {missing} frames are in no segment, and {counted} on record as lost"
                )
        for gone in self._soak.acts.gone:
            if gone.until - gone.since > _NOTICED and not any(
                one.interface == gone.interface
                and one.stage == "link"
                and one.since < gone.until * 1e9
                and (one.until or 0) > gone.since * 1e9
                for one in records
            ):
                self._log.problem(f"{gone} is not on record")

    def _check_growth(self) -> None:
        for growth in growths(self._soak.samples.taken):
            if not growth.allowed:
                self._log.problem(str(growth))

    def _check_units(self) -> None:
        kills = self._log.acts["kill daemon"]
        if self._soak.journals.restarts != kills:
            self._log.problem(
                f"systemd restarted capd {self._soak.journals.restarts} times for {kills} kills"
            )
        failed = self._ground.run("systemctl", "list-units", "--failed", "--plain", "--no-legend")
        if failed.stdout.strip():
            self._log.problem(f"units have failed: {failed.stdout.strip()}")
