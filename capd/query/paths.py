"""The paths of a program to "accept", and what each of them needs of a section.

A program is walked without a packet.  On the way to an instruction it is known what the registers
hold, and what earlier loads must have given for the program to come along; a comparison with a
field that sketches know is a question.  A path needs all of its questions, the program needs one
of its paths.

A program jumps forward only, so each instruction is looked at once, for a few states: paths that
meet with the same in their registers go on as one, knowing what all of them know.  What is too
much or not understood is forgotten: then less is asked, and that is never a wrong "no".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from capd.query.fields import TAG_PRESENT, Facts, Load, question
from capd.query.questions import ANYTHING, NOTHING, Term, Terms
from capd.query.ranges import Ranges, intersected, united
from capd.query.registers import (
    INSTRUCTION,
    JMP,
    RET,
    UNKNOWN,
    A,
    Instruction,
    Registers,
    after,
    masked,
    needed,
    operand,
    targets,
)

_MOST_STATES = 8  # of one instruction
_MOST_FACTS = 64
_MOST_RANGES = 16
_JEQ, _JGT, _JGE, _JSET = 0x10, 0x20, 0x30, 0x40
_REJECT = RET, 0  # BPF_RET | BPF_K of no bytes
_WORD = 0xFFFFFFFF
_AT_START: Facts = {Load(TAG_PRESENT, 1, 1): ((0, 1),)}


@dataclass(frozen=True)
class _Exit:
    """A way out of a state."""

    needs: Term
    target: int
    registers: Registers  # the target finds its state by them


@dataclass
class _State:
    """What is known on all paths that meet before an instruction."""

    registers: Registers
    facts: Facts
    exits: list[_Exit] = field(default_factory=list)
    needs: Term = NOTHING  # for the program to accept from here on

    def meet(self, other: _State) -> None:
        """Keep what both know."""
        pairs = zip(self.registers, other.registers, strict=True)
        self.registers = tuple(one if one == two else None for one, two in pairs)
        self.facts = _common(self.facts, other.facts)


def necessary(program: bytes, link_type: int, terms: Terms) -> Term:
    """What a section must perhaps hold for the program to accept one of its packets.

    The program is an array of struct sock_filter that the kernel would take.
    """
    return _Walk(list(INSTRUCTION.iter_unpack(program)), link_type, terms).needs()


class _Walk:
    """One program, from its beginning to its ends and back."""

    def __init__(self, program: list[Instruction], link_type: int, terms: Terms) -> None:
        self._program = program
        self._link_type = link_type
        self._terms = terms
        self._live = needed(program)
        self._states: list[dict[Registers, _State]] = [{} for _ in program]

    def needs(self) -> Term:
        """What the whole program needs."""
        start = self._arrive(0, UNKNOWN, _AT_START)
        for at in range(len(self._program)):
            for state in self._few(at):
                state.exits = list(self._leave(at, state))
        for at in reversed(range(len(self._program))):
            for state in self._states[at].values():
                state.needs = self._needed(at, state)
        return self._states[0][start].needs

    def _arrive(self, at: int, registers: Registers, facts: Facts) -> Registers:
        """Note a way to an instruction; by which registers it knows the state there."""
        live = self._live[at]
        known = tuple(value if live >> i & 1 else None for i, value in enumerate(registers))
        met = self._states[at].setdefault(known, _State(known, facts))
        met.facts = _common(met.facts, facts)
        return known

    def _few(self, at: int) -> list[_State]:
        """The states of an instruction; one for all if they are too many."""
        states = self._states[at]
        if len(states) <= _MOST_STATES:
            return list(states.values())
        first, *others = states.values()
        for other in others:
            first.meet(other)
        self._states[at] = dict.fromkeys(states, first)
        return [first]

    def _leave(self, at: int, state: _State) -> Iterator[_Exit]:
        instruction = self._program[at]
        ways = targets(instruction, at)
        if instruction[0] & 7 != JMP:
            registers = after(instruction, state.registers)
            taken = [(ANYTHING, target, state.facts) for target in ways]
        else:
            registers = state.registers
            taken = list(self._jumped(instruction, state, ways))
        for needs, target, facts in taken:
            if target < len(self._program):
                yield _Exit(needs, target, self._arrive(target, registers, facts))
            else:  # out of the program, or back: the kernel takes no such thing
                yield _Exit(ANYTHING, target, registers)

    def _jumped(
        self, instruction: Instruction, state: _State, ways: tuple[int, ...]
    ) -> Iterator[tuple[Term, int, Facts]]:
        """The ways that can be gone: what is needed for it, where to, what is known then."""
        left, right = state.registers[A], operand(instruction, state.registers)
        comparison, facts = instruction[0] & 0xF0, state.facts
        if len(ways) == 1 or not (isinstance(left, int | Load) and isinstance(right, int)):
            yield from ((ANYTHING, target, facts) for target in ways)
            return
        if comparison == _JSET:
            left, comparison, right = masked(left, right), _JGT, 0
        for target, allowed in zip(ways, _outcomes(comparison, right), strict=True):
            if isinstance(left, int):
                if intersected(((left, left),), allowed):
                    yield ANYTHING, target, facts
                continue
            learned = _learned(facts, left, allowed)
            if learned is facts:
                yield ANYTHING, target, facts
            elif learned is not None:
                asked = question(left, learned, self._link_type, self._terms)
                yield asked, target, learned

    def _needed(self, at: int, state: _State) -> Term:
        code, _, _, k = self._program[at]
        if code & 7 == RET:
            return NOTHING if (code, k) == (_REJECT) else ANYTHING
        found: Term = NOTHING
        for each in state.exits:
            needs: Term = ANYTHING
            if each.target < len(self._program):
                needs = self._states[each.target][each.registers].needs
            found = self._terms.either(found, self._terms.every(each.needs, needs))
        return found


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
