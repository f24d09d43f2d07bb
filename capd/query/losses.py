"""`capd losses`: the records of the ledger that are asked for, their sums, and JSON of both.

Sums are by stage and never over stages: each has a place and a cause of its own, and what the
interface has dropped and what a ring has are not the same packets.  Reading the file is `ledger`'s
business, how it looks on a terminal `loss_view`'s.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from capd import ledger
from capd.errors import StorageError
from capd.losses import STAGES, Loss
from capd.names import LEDGER_FOLDER
from capd.units import format_time


@dataclass(frozen=True)
class Question:
    """What is asked; times in ns since 1970."""

    directory: str  # the capture directory
    since: int
    until: int
    interfaces: tuple[str, ...] = ()  # (): all
    stages: tuple[str, ...] = ()
    samples: bool = False


@dataclass
class Total:
    """Of one stage."""

    records: int = 0
    packets: int = 0  # as far as it is known
    unknown: int = 0  # records of nobody knows how many
    at_most: bool = False  # `packets` is an upper bound
    lasted: int = 0  # ns of all records together


@dataclass
class Sampled:
    """What was sampled around one loss."""

    loss: Loss
    samples: list[dict[str, Any]]  # []: not kept any more


@dataclass
class Answer:
    """The records that fit, in the order of their beginnings."""

    question: Question
    losses: list[Loss] = field(default_factory=list)
    sampled: list[Sampled] = field(default_factory=list)
    kept: bool = False  # whether there is a ledger
    earlier: int = 0  # records from before `since` that would fit otherwise
    troubles: list[str] = field(default_factory=list)  # what is missing, and why
    present: list[str] = field(default_factory=list)  # what is being missed now
    strange: list[str] = field(default_factory=list)  # why there can be no record
    unknown: list[str] = field(default_factory=list)  # why nobody knows what is being missed now

    @property
    def totals(self) -> dict[str, Total]:
        """By stage, in the order that packets take through them."""
        return _totals(self.losses, self.question)

    def add(self, losses: Iterable[Loss]) -> None:
        """Those among these that fit, and are not in the ledger."""
        known = {(one.interface, one.stage, one.since) for one in self.losses}
        for loss in losses:
            fits = _fits(loss, self.question) and _overlaps(loss, self.question)
            if fits and (loss.interface, loss.stage, loss.since) not in known:
                self.losses.append(loss)
        self.losses.sort(key=lambda one: one.since)


def answer(question: Question) -> Answer:
    """Read the ledger.  StorageError if there is none to read."""
    found = Answer(question)
    with ledger.opened(question.directory) as folder:
        if folder is None:
            return found
        found.kept = True
        read = ledger.records(folder)
        place = f"{question.directory}/{LEDGER_FOLDER}"
        found.troubles = [f"{place}: {trouble}" for trouble in read.troubles]
        if question.since < read.begins:
            when = format_time(read.begins)
            found.troubles.append(f"{place}: records from before {when} may be gone")
        fitting = [loss for loss in read.losses if _fits(loss, question)]
        found.losses = sorted(
            (loss for loss in fitting if _overlaps(loss, question)), key=lambda one: one.since
        )
        found.earlier = sum(_end(loss, question) < question.since for loss in fitting)
        if question.samples:
            _sample(found, folder, place)
    return found


def as_json(answer: Answer) -> str:
    """All of it; times in ns since 1970, null for what is not known."""
    question = answer.question
    document: dict[str, Any] = {
        "since": question.since,
        "until": question.until,
        "losses": [asdict(loss) for loss in answer.losses],
        "totals": {stage: asdict(total) for stage, total in answer.totals.items()},
        "troubles": answer.troubles + answer.strange + answer.unknown,
        "present": answer.present,
    }
    if question.samples:
        document["samples"] = {one.loss.samples: one.samples for one in answer.sampled}
    return json.dumps(document)


def _fits(loss: Loss, question: Question) -> bool:
    """Apart from its time.  What is of no single interface may be of any."""
    interfaces, stages = question.interfaces, question.stages
    of_it = not interfaces or not loss.interface or loss.interface in interfaces
    return of_it and (not stages or loss.stage in stages)


def _overlaps(loss: Loss, question: Question) -> bool:
    return loss.since < question.until and _end(loss, question) >= question.since


def _end(loss: Loss, question: Question) -> int:
    return max(loss.since, question.until if loss.until is None else loss.until)


def _totals(losses: Iterable[Loss], question: Question) -> dict[str, Total]:
    found: dict[str, Total] = {}
    for loss in losses:
        total = found.setdefault(loss.stage, Total())
        total.records += 1
        total.packets += loss.packets or 0
        total.unknown += loss.packets is None
        total.at_most |= loss.at_most
        total.lasted += _end(loss, question) - loss.since
    known = [stage for stage in STAGES if stage in found]
    return {stage: found[stage] for stage in [*known, *sorted(found.keys() - {*known})]}


def _sample(found: Answer, folder: int, place: str) -> None:
    for loss in {one.samples: one for one in found.losses if one.samples}.values():
        try:
            samples, broken = ledger.samples(folder, loss.samples)
        except StorageError as error:
            found.troubles.append(f"{place}: {error}")
            continue
        if broken:
            found.troubles.append(f"{place}: {broken} lines of {loss.samples} cannot be understood")
        found.sampled.append(Sampled(loss, samples))
