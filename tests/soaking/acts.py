"""Doing what the schedule says, one act after the other, to capd on its machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from capd.errors import StorageError
from capd.events import Kind
from tests.soaking import processes
from tests.soaking.accounts import Account
from tests.soaking.extracts import Extracts
from tests.soaking.ground import Ground
from tests.soaking.log import Log
from tests.soaking.schedule import Step
from tests.soaking.senders import Sender
from tests.soaking.settings import INTERFACES, METRICS, Settings
from tests.support.scrape import answers
from tests.support.service import is_another
from tests.support.wait import wait_for

_PATIENCE = 30.0  # seconds until what must come has come
_RARE = 3.0  # the same for a process that is not always there
STARVED = 4.0  # seconds without a worker: more than the least ring holds


@dataclass
class Gone:
    """A time in which an interface gave no packets, under one daemon."""

    interface: str
    since: float  # seconds since 1970
    until: float


@dataclass
class Acts:
    """On this machine, with these senders."""

    ground: Ground
    log: Log
    senders: list[Sender]
    accounts: list[Account]
    extracts: list[Extracts]
    settings: Settings = field(default_factory=Settings)
    gone: list[Gone] = field(default_factory=list)
    _killed: str = ""  # the invocation of the daemon that was killed last

    def do(self, step: Step) -> None:
        """One act; AssertionError if what must come of it does not come."""
        self.settings = step.settings
        getattr(self, f"_{step.kind}")(step)

    def _kill(self, step: Step) -> None:
        if pid := self._process(step.role, step.which):
            if step.role == "daemon":
                self._killed = self.ground.property("InvocationID")
            self.log.act(f"kill {step.role}", f"kill -9 of {step.role} {pid}")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        else:
            self.log.say(f"no {step.role} to kill")

    def _halt(self, step: Step) -> None:
        pid = self._process(step.role, step.which)
        if pid:
            self.log.act(
                f"halt {step.role}", f"SIGSTOP of {step.role} {pid} for {step.seconds:.1f} s"
            )
            self._stop(pid, step.seconds)
            if step.role == "extraction":
                self.extracts[step.which].go_on()
        else:
            self.log.say(f"no {step.role} to stop")

    def _stop(self, pid: int, seconds: float) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(seconds)
            os.kill(pid, signal.SIGCONT)

    def _reload(self, step: Step) -> None:
        self._wait_active()
        self.log.act("reload", f"reload: {step.settings}")
        self.ground.configure(step.settings)
        done = self.ground.run("systemctl", "reload", "capd", check=False)
        if done.returncode:
            self.log.problem(f"a good config was refused: {done.stderr}")

    def _bad(self, step: Step) -> None:
        self._wait_active()
        # Another start of it under a bad config would be its last, as its unit has it.
        net = self.ground.net
        wait_for(lambda: answers(net, METRICS, "/metrics"), _PATIENCE, "capd-metrics to answer")
        self.log.act("bad", f"reload of a bad config, then {step.role or 'nothing'}: {step.text!r}")
        self.ground.configure(step.settings, step.text)
        if not self.ground.run("systemctl", "reload", "capd", check=False).returncode:
            self.log.problem(f"a bad config was taken: {step.text!r}")
        if step.role == "daemon":
            self._kill(step)
        elif step.role:
            self._restart(step)
        self._wait_active()
        self.ground.configure(step.settings)
        if step.role:  # it runs under the one before, and hears of the good one by a reload
            self.ground.systemctl("reload", "capd")

    def _restart(self, _: Step) -> None:
        self._wait_active()
        self.log.act("restart", "systemctl restart capd")
        self.ground.systemctl("restart", "capd")

    def _flap(self, step: Step) -> None:
        name = INTERFACES[step.which]
        self.log.act("flap", f"{name} down for {step.seconds:.2f} s")
        with self._doubted(step.which):
            self.ground.net.set_link(name, "down")
            time.sleep(step.seconds)
            self.ground.net.set_link(name, "up")

    def _remake(self, step: Step) -> None:
        name, sender = INTERFACES[step.which], self.senders[step.which]
        self.log.act("remake", f"{name} deleted, and made again after {step.seconds:.2f} s")
        with self._doubted(step.which):
            self.ground.net.delete_link(name)
            time.sleep(step.seconds)
            made = time.time_ns()
            sender.move(self.ground.make(step.which))
            wait_for(lambda: self._captured(name, made), _PATIENCE, f"a new ring of {name}")

    def _starve(self, step: Step) -> None:
        name = INTERFACES[step.which]
        self._reload(Step(step.at, "reload", settings=step.settings.starving(step.which)))
        worker = wait_for(lambda: self._process("worker", step.which), _PATIENCE, "a worker")
        self.log.act("starve", f"SIGSTOP of {name}'s worker {worker}, whose ring is small")
        since = time.time_ns() // 1000
        self._stop(worker, STARVED)
        wait_for(lambda: self._told(Kind.LOSS, name, since), _PATIENCE, f"the loss of {name}")
        self._reload(step)

    def _told(self, kind: Kind, name: str, since: int) -> bool:
        """Whether the journal has such a message; `since` in us since 1970."""
        words = f"MESSAGE_ID={kind.message_id}", f"CAPD_INTERFACE={name}"
        when = f"--since=@{since // 10**6}"
        said = self.ground.run("journalctl", "-q", "-o", "json", when, *words).stdout
        return '"CAPD_STAGE":"ring"' in said

    @contextmanager
    def _doubted(self, which: int) -> Iterator[None]:
        """What is sent meanwhile need not be recorded."""
        sender, began = self.senders[which], time.time()
        daemon = self.ground.property("InvocationID")
        sender.doubt()
        try:
            yield
        finally:
            self.accounts[which].doubtful.add(sender.trust())
        if daemon == self.ground.property("InvocationID"):
            self.gone.append(Gone(INTERFACES[which], began, time.time()))

    def _captured(self, name: str, made: int) -> bool:
        """Whether a ring takes the packets of the interface that was made at `made`."""
        with suppress(StorageError):
            rings = self.ground.status.rings
            return any(one.interface == name and one.since > made and one.link == "up"
                       for one in rings)  # fmt: skip
        return False

    def _wait_active(self) -> None:
        wait_for(
            lambda: is_another(self.ground, self._killed), _PATIENCE, "capd.service to be active"
        )

    def _process(self, role: str, which: int) -> int:
        """One of this kind; 0 if there is none for a while."""
        if role == "extraction":
            return self.extracts[which].pid
        deadline = time.monotonic() + _RARE
        while time.monotonic() < deadline:
            found = sorted(pid for one, pid in processes.of(self.ground.pid) if one == role)
            if role == "worker":
                found = [pid for pid in found if processes.writes(pid, f"/{INTERFACES[which]}/")]
            if found:
                return found[-1]
            time.sleep(0.05)
        return 0
