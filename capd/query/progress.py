"""A progress bar on stderr, if that is a terminal; nothing otherwise."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskProgressColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.progress import Progress as Bar

from capd.units import printable


class Progress:
    """Bytes of `total` that were looked at, how fast, and how long it will take."""

    def __init__(self, total: int | None = None, pause: Callable[[], None] | None = None) -> None:
        """`pause` is called at each advance, and may take its time."""
        self._pause = pause
        self._console = Console(stderr=True)
        columns = (BarColumn(), TaskProgressColumn(), DownloadColumn(), TransferSpeedColumn())
        shown = self._console.is_terminal
        self._bar = Bar(
            *columns,
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not shown,
        )
        self._task = self._bar.add_task("", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def expect(self, total: int) -> None:
        """So many bytes there are to look at."""
        self._bar.update(self._task, total=total)

    def advance(self, size: int) -> None:
        """So many bytes more."""
        self._bar.advance(self._task, size)
        if self._pause is not None:
            self._pause()

    def say(self, text: str, otherwise: Callable[[str], None]) -> None:
        """A line above the bar; `otherwise` says it where there is none."""
        if self._console.is_terminal:
            self._console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
        else:
            otherwise(text)
