"""The necessary conditions of a filter: which sections need not even be decompressed.

They are read off the compiled program (`paths.py`), so a filter has one meaning and one parser,
libpcap's.  `host a and (port 80 or tcp[13] & 2 != 0)` needs a network a/32 in the sketch; what is
not understood needs nothing, and then every section is scanned.
"""

from __future__ import annotations

from collections.abc import Iterator

from capd.query.paths import necessary
from capd.query.questions import ANYTHING, NOTHING, Every, Question, Term, Terms
from capd.sketch import Sketch

_MOST_WORDS = 4000  # characters


class Conditions:
    """What a section must perhaps hold to have a packet that a program accepts."""

    def __init__(self, needs: Term) -> None:
        self._needs = needs

    @classmethod
    def of(cls, program: bytes, link_type: int) -> Conditions:
        """Of a program as compile_filters gives it for this LINKTYPE_*."""
        return cls(necessary(program, link_type, Terms()))

    def may_match(self, sketch: Sketch) -> bool:
        """Whether a section of this sketch must be scanned; each question is asked once at most."""
        return _holds(self._needs, sketch, {})

    def __str__(self) -> str:
        """In words; cut where it would be longer than a screen."""
        words = ""
        for word in _words(self._needs, inside=False):
            words += word
            if len(words) > _MOST_WORDS:
                return f"{words} ..."
        return words


def _holds(term: Term, sketch: Sketch, known: dict[Term, bool]) -> bool:
    answer = known.get(term)
    if answer is None:
        if isinstance(term, Question):
            answer = term.ask(sketch)
        else:
            answer = isinstance(term, Every)
            for part in term.ordered:
                if _holds(part, sketch, known) is not answer:
                    answer = not answer
                    break
        known[term] = answer
    return answer


def _words(term: Term, *, inside: bool) -> Iterator[str]:
    if term is ANYTHING or term is NOTHING:
        yield "anything" if term is ANYTHING else "nothing"
    elif isinstance(term, Question):
        yield term.words
    else:
        yield "(" * inside
        for number, part in enumerate(term.ordered):
            if number:
                yield " and " if isinstance(term, Every) else " or "
            yield from _words(part, inside=True)
        yield ")" * inside
