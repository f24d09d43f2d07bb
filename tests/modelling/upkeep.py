"""What capd does with segments behind the capture, a turn at a time, each by the real code.

A turn of the archive process is its scan, its jobs and its moves, without the threads that would
do them in an order of their own.  A pass of the reaper is what its thread does when it is woken.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from capd import hold_folder
from capd.archive.process import Archive
from capd.catalog import Catalog
from capd.daemon.reaper import Reaper, Territory
from capd.daemon.remains import Living, remains
from capd.daemon.retention import Policy
from capd.holds import Hold
from capd.messages import MAX_MESSAGE, ArchivePlan, Event, Load, Message, Salvage, decode, encode
from tests.modelling.dying import LIFE, Death, run
from tests.support.believing import believing

SECTION = 512 * 1024
EXPECTED = {"RECOVERED", "MOVES_AGAIN"}


class Turn(NamedTuple):
    """What a turn of the archive process comes to."""

    compress: bool
    jobs: int  # at most
    moves: int
    death: Death = LIFE


class Ground:
    """The two directories, and who looks after them."""

    def __init__(self, first: Path, second: Path) -> None:
        self.first, self.second = first, second
        self._reapers: dict[Path, Reaper] = {}
        os.close(hold_folder.make(str(first)))  # as the first reaper does before it deletes

    @property
    def directories(self) -> tuple[str, str]:
        """As capd knows them."""
        return str(self.first), str(self.second)

    def archive(self, turn: Turn, living: list[Living]) -> tuple[bool, list[Event]]:
        """Whether it lived to the end of a turn, and what it said that people should read.

        What belongs to none of the `living` is salvaged first.
        """
        found = Catalog(str(self.first)).scan()
        parts = {ring: tuple(part.seq for part in files.parts) for ring, files in found.items()}
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            orders: list[Message] = [Load(0.0, late=False, reserve=0)]
            orders += [Salvage(ring, seqs) for ring, seqs in remains(parts, living).items()]
            for order in orders:
                ours.send(encode(order))
            lived = run(partial(self._be_archive, theirs, turn), turn.death)
            return lived, _events(ours)

    def reap(self, place: Path, policy: Policy, death: Death) -> bool:
        """A pass of the reaper of one directory; whether it lived to the end of it."""
        if place not in self._reapers or policy.min_free:  # or it knows how fast the disk fills
            self._reapers[place] = Reaper(self._territory(place, policy), believing())
        reaper, territory = self._reapers[place], self._territory(place, policy)
        reaper.adjust(territory)
        reaper._rested = 0.0  # it has had its rest since the last pass
        if death.change:
            lived = run(lambda: reaper._look(territory), death)
            self.restart()
            return lived
        reaper._look(territory)
        return True

    def restart(self) -> None:
        """Another daemon."""
        self._reapers.clear()

    def hold(self, hold: Hold, death: Death) -> bool:
        """Make it; whether that was done."""
        return run(partial(self._be_holder, hold), death)

    def release(self, identity: str) -> None:
        """End it."""
        with hold_folder.opened(str(self.first)) as folder:
            assert folder is not None
            assert hold_folder.remove(folder, identity)

    def _territory(self, place: Path, policy: Policy) -> Territory:
        first, second = str(self.first), place == self.second
        return Territory(str(place), False, policy, second=second, holds_in=first)

    def _be_holder(self, hold: Hold) -> None:
        folder = hold_folder.make(str(self.first))
        hold_folder.write(folder, hold)

    def _be_archive(self, control: socket.socket, turn: Turn) -> None:
        plan = ArchivePlan(str(self.first), False, turn.compress, 3, 1, SECTION, str(self.second))
        archive = Archive(control, plan)
        archive._listen()
        archive._decide()
        archive._recover()
        while archive._recovering:
            archive._recover()
        archive._scan()
        for _ in range(turn.jobs):
            job = archive._backlog.take(plan, 0.0)
            if job is None:
                break
            archive._crew._work(job)
            archive._scan()
        for _ in range(turn.moves):
            segment = archive._mover._first()
            if segment is None:
                break
            archive._mover._serve(segment)
            archive._scan()
        archive._send_events()


def _events(control: socket.socket) -> list[Event]:
    """What was said before the other end was closed."""
    heard = []
    control.setblocking(False)
    with suppress(BlockingIOError):
        while datagram := control.recv(MAX_MESSAGE):
            heard.append(decode(datagram))
    return [one for one in heard if isinstance(one, Event)]


def free(place: Path) -> tuple[int, int]:
    """Bytes of the disk that others than root may still write, and all there are."""
    space = os.statvfs(place)
    return space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize
