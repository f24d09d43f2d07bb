"""What the daemon wants of one ring: the worker's plan, and what it takes to open the ring.

Two equal ring plans mean the same work, so what is wanted and what runs are compared by
equality.  It imports little: a restarted daemon goes on with its rings before anything else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from capd.messages import Plan, plain, plan_of


class RingPlan(NamedTuple):
    """A worker's plan, and what the daemon needs to open its ring."""

    plan: Plan
    link_index: int  # of the interface: another one under the same name is another ring
    program: bytes  # cBPF
    promiscuous: bool
    entry: str  # name of the config's entry that means the interface

    @property
    def name(self) -> str:
        """The ring's name."""
        return self.plan.source.ring

    def since(self, moment: int) -> RingPlan:
        """The same, with its filter in force since `moment` (ns since 1970)."""
        source = self.plan.source._replace(filter_since=moment)
        return self._replace(plan=self.plan._replace(source=source))

    def equals(self, other: RingPlan) -> bool:
        """Whether both mean the same work, whenever their filters were put in force."""
        return self.since(0) == other.since(0)

    def fits(self, other: RingPlan) -> bool:
        """Whether a ring opened for `other` can go on for this plan, without another ring.

        A worker finishes what it writes in the folder in which it began: another folder
        takes another ring.  So does another kind of packets, as in a block of a ring those of
        both would stand under one header.
        """
        mine, theirs = self.plan, other.plan
        return (
            self.link_index == other.link_index
            and self.name == other.name
            and mine.geometry == theirs.geometry
            and mine.directory == theirs.directory
            and mine.source.link_type == theirs.source.link_type
        )


def to_fields(wanted: RingPlan) -> dict[str, Any]:
    """As JSON takes it."""
    return plain(wanted) | {"program": wanted.program.hex()}


def from_fields(fields: dict[str, Any]) -> RingPlan:
    """What `to_fields` gave; KeyError, TypeError or ValueError if it did not."""
    program = bytes.fromhex(fields["program"])
    return RingPlan(**fields | {"plan": plan_of(fields["plan"]), "program": program})
