"""The necessary conditions of a filter: which sections need not even be decompressed.

They are read off the compiled program (`paths.py`), so a filter has one meaning and one parser,
libpcap's.  A section must be scanned if its sketch leaves open one of the ways through the program
to "accept": `host a and (port 80 or tcp[13] & 2 != 0)` has none past a sketch without a.  What is
not understood asks for nothing, and so leaves a way open.
"""

from __future__ import annotations

from capd.errors import StorageError
from capd.query.paths import ACCEPT, Paths, paths
from capd.query.questions import Asked
from capd.sketch import Sketch

_MOST_WAYS = 4000  # a millisecond: to scan a section takes hardly longer


class Conditions:
    """What a section must perhaps hold to have a packet that a program accepts."""

    def __init__(self, found: Paths) -> None:
        numbers: dict[Asked, int] = {}
        self._places = [
            [(numbers.setdefault(asked, len(numbers)), target) for asked, target in place]
            for place in found.places
        ]
        self._asked = list(numbers)
        too_many = sum(map(len, self._places)) > _MOST_WAYS
        self._start = ACCEPT if too_many else found.start

    @classmethod
    def of(cls, program: bytes, link_type: int) -> Conditions:
        """Of a program as compile_filters gives it for this LINKTYPE_*; b"" accepts everything."""
        return cls(paths(program, link_type))

    def may_match(self, content: bytes) -> bool:
        """Whether a section of this sketch, as it is stored, must be scanned.

        One that is missing or cannot be read denies nothing.
        """
        if self._start == ACCEPT:
            return True
        try:
            return self._is_open(Sketch.decode(content))
        except StorageError:
            return True

    def _is_open(self, sketch: Sketch) -> bool:
        """Whether "accept" can be reached; each question is put once at most."""
        answers: list[bool | None] = [None] * len(self._asked)
        reached, waiting = {self._start}, [self._start]
        while waiting:
            for number, target in self._places[waiting.pop()]:
                if target in reached:
                    continue
                answer = answers[number]
                if answer is None:
                    asked = self._asked[number]
                    answer = not asked or any(question.may_be(sketch) for question in asked)
                    answers[number] = answer
                if answer:
                    if target == ACCEPT:
                        return True
                    reached.add(target)
                    waiting.append(target)
        return False
