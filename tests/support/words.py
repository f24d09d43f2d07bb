"""capd's words by the hundred, said to one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self


class Answer(NamedTuple):
    """What came of a word."""

    code: int  # of the exit
    errors: str


class Words:
    """A process that says them, with this runtime directory."""

    def __init__(self, runtime: str, filters: Sequence[str]) -> None:
        """`filters`: those that will be in the words, to be compiled at once."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.words_child"],
            env=os.environ | {"RUNTIME_DIRECTORY": runtime},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._tell(filters)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._process:
            self._process.kill()

    def say(self, *arguments: str) -> Answer:
        """One of them, and what came of it."""
        self._tell(arguments)
        assert self._process.stdout is not None
        return Answer(*json.loads(self._process.stdout.readline()))

    def _tell(self, texts: Sequence[str]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(texts) + "\n")
        self._process.stdin.flush()
