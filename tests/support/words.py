"""capd's words by the hundred, said to one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import TracebackType
from typing import NamedTuple, Self


class Answer(NamedTuple):
    """What came of a word."""

    code: int  # of the exit
    errors: str


class Words:
    """A process that says them, with this runtime directory."""

    def __init__(self, runtime: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.words_child"],
            env=os.environ | {"RUNTIME_DIRECTORY": runtime},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

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
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        return Answer(*json.loads(self._process.stdout.readline()))
