"""The ways through a program to "accept", and what each step of them asks of a section.

A program is walked without a packet.  On the way to an instruction it is known what the registers
hold, and what earlier loads must have given for the program to come along; a comparison with a
field that sketches know is a question.

A program jumps forward only, so each instruction is looked at once, for a few states: paths that
meet with the same in their registers go on as one, knowing what all of them know.  What is not
understood is forgotten: then less is asked, and that is never a wrong "no".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from capd.query.fields import Facts, question
from capd.query.questions import NOTHING, Asked
from capd.query.ranges import Ranges, intersected, united
from capd.query.registers import (
    INSTRUCTION,
    JMP,
    RET,
    TAG_PRESENT,
    UNKNOWN,
    A,
    Instruction,
    Load,
    Registers,
    after,
    masked,
    needed,
    operand,
    targets,
)

_MOST_STATES = 8  # of one instruction; libpcap's programs have three at most
_MOST_FACTS = 64
_MOST_RANGES = 16
_JEQ, _JGT, _JGE, _JSET = 0x10, 0x20, 0x30, 0x40
_REJECT = RET, 0  # BPF_RET | BPF_K of no bytes
_WORD = 0xFFFFFFFF
_AT_START: Facts = {Load(TAG_PRESENT, 1, 1): ((0, 1),)}

Place = tuple[tuple[Asked, int], ...]
"""The ways on from here: what each asks, and the place that it leads to."""
REJECT, ACCEPT = 0, 1
"""Places at which a program ends."""


class Paths:
    """Places by number; from one to another there are only steps forward in the program."""

    def __init__(self) -> None:
        self.start = ACCEPT
        self.places: list[Place] = [(), ()]
        self._numbers: dict[Place, int] = {}

    def place(self, ways: Iterable[tuple[Asked, int]]) -> int:
        """The place that these lead on from; one for all from which the same ways do."""
        leading = dict.fromkeys(way for way in ways if way[1] != REJECT)
        free = {target for asked, target in leading if not asked}
        if ACCEPT in free:
            return ACCEPT
        kept = tuple(way for way in leading if not way[0] or way[1] not in free)
        if not kept:
            return REJECT
        if len(kept) == 1 and free:
            return kept[0][1]
        number = self._numbers.setdefault(kept, len(self.places))
        if number == len(self.places):
            self.places.append(kept)
        return number


@dataclass(frozen=True)
class _Exit:
    """A way out of a state."""

    asked: Asked
    target: int
    registers: Registers  # the target finds its state by them


@dataclass
class _State:
    """What is known on all paths that meet before an instruction."""

    registers: Registers
    facts: Facts
    exits: list[_Exit] = field(default_factory=list)
    place: int = REJECT


def paths(program: bytes, link_type: int) -> Paths:
    """Those of a program, for packets of this LINKTYPE_*.

    The program is an array of struct sock_filter that the kernel would take, or b"".
    """
    return _Walk(list(INSTRUCTION.iter_unpack(program)), link_type).paths()


class _Walk:
    """One program, from its beginning to its ends and back."""

    def __init__(self, program: list[Instruction], link_type: int) -> None:
        self._program = program
        self._link_type = link_type
        self._live = needed(program)
        self._states: list[dict[Registers, _State]] = [{} for _ in program]

    def paths(self) -> Paths:
        """All paths; none that asks anything, if they are too many."""
        found = Paths()
        if not self._program:
            return found
        start = self._arrive(0, UNKNOWN, _AT_START)
        for at, states in enumerate(self._states):
            if len(states) > _MOST_STATES:
                return found
            for state in states.values():
                state.exits = list(self._leave(at, state))
        for at in reversed(range(len(self._program))):
            for state in self._states[at].values():
                state.place = self._place(found, at, state)
        found.start = self._states[0][start].place
        return found

    def _arrive(self, at: int, registers: Registers, facts: Facts) -> Registers:
        """Note a way to an instruction; by which registers it knows the state there."""
        live = self._live[at]
        known = tuple(value if live >> i & 1 else None for i, value in enumerate(registers))
        met = self._states[at].setdefault(known, _State(known, facts))
        met.facts = _common(met.facts, facts)
        return known

    def _leave(self, at: int, state: _State) -> Iterator[_Exit]:
        instruction = self._program[at]
        ways = targets(instruction, at)
        if instruction[0] & 7 != JMP:
            registers = after(instruction, state.registers)
            taken = [(NOTHING, target, state.facts) for target in ways]
        else:
            registers = state.registers
            taken = list(self._jumped(instruction, state, ways))
        for asked, target, facts in taken:
            if target < len(self._program):
                yield _Exit(asked, target, self._arrive(target, registers, facts))
            else:  # out of the program: the kernel takes no such thing
                yield _Exit(NOTHING, target, registers)

    def _jumped(
        self, instruction: Instruction, state: _State, ways: tuple[int, ...]
    ) -> Iterator[tuple[Asked, int, Facts]]:
        """The ways that can be gone: what is asked on it, where to, what is known then."""
        left, right = state.registers[A], operand(instruction, state.registers)
        comparison, facts = instruction[0] & 0xF0, state.facts
        if len(ways) == 1 or not (isinstance(left, int | Load) and isinstance(right, int)):
            yield from ((NOTHING, target, facts) for target in ways)
            return
        if comparison == _JSET:
            left, comparison, right = masked(left, right), _JGT, 0
        for target, allowed in zip(ways, _outcomes(comparison, right), strict=True):
            if isinstance(left, int):
                if intersected(((left, left),), allowed):
                    yield NOTHING, target, facts
                continue
            learned = _learned(facts, left, allowed)
            if learned is facts:
                yield NOTHING, target, facts
            elif learned is not None:
                yield question(left, learned, self._link_type), target, learned

    def _place(self, found: Paths, at: int, state: _State) -> int:
        code, _, _, k = self._program[at]
        if code & 7 == RET:
            return REJECT if (code, k) == _REJECT else ACCEPT
        return found.place((each.asked, self._place_of(each)) for each in state.exits)

    def _place_of(self, way: _Exit) -> int:
        if way.target >= len(self._program):
            return ACCEPT
        return self._states[way.target][way.registers].place


def _outcomes(comparison: int, number: int) -> tuple[Ranges, Ranges]:
    """The numbers for which a comparison with this one is true, and the others."""
    if comparison == _JEQ:
        return ((number, number),), _ranges((0, number - 1), (number + 1, _WORD))
    if comparison == _JGT:
        return _ranges((number + 1, _WORD)), ((0, number),)
    if comparison == _JGE:
        return ((number, _WORD),), _ranges((0, number - 1))
    return ((0, _WORD),), ((0, _WORD),)


def _ranges(*pairs: tuple[int, int]) -> Ranges:
    return tuple((first, last) for first, last in pairs if first <= last)


def _learned(facts: Facts, load: Load, allowed: Ranges) -> Facts | None:
    """The facts when the load gave something allowed; None: it cannot have."""
    known = facts.get(load, ((0, load.mask),))
    left = intersected(known, allowed)
    if not left:
        return None
    # That a number was not this one, nor that one, would be long and of no use.
    useless = load not in facts and (len(left) > 1 or len(facts) >= _MOST_FACTS)
    if useless or left == known or len(left) > _MOST_RANGES:
        return facts
    return {**facts, load: left}


def _common(some: Facts, others: Facts) -> Facts:
    """What is so by both: of each load, that it gave what either says."""
    if some is others:
        return some
    both = ((load, united(some[load], others[load])) for load in some if load in others)
    return {
        load: ranges
        for load, ranges in both
        if len(ranges) <= _MOST_RANGES and ranges != ((0, load.mask),)
    }
