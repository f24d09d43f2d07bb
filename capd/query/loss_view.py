"""How the answer of `capd losses` looks: on a terminal, and where programs read it.

On a terminal: a table that fits its width, the sums, and the plot, with colour if it has any.
Elsewhere: plain ASCII, one line for each record, however long, so that grep finds all of it.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from capd.losses import Loss, lasting
from capd.query import samples
from capd.query.losses import Answer, Sampled, Total
from capd.query.timeline import ASCII, UNICODE, Marks, timeline
from capd.times import clock
from capd.units import SECOND, format_count, format_time, printable

ROOMY = 120  # columns from which on what to change has one of its own
NARROW = 72  # columns below which a table would cut numbers short: lines are folded instead
_ANY_WIDTH = 100_000  # columns: no line is folded


class View:
    """Of one answer."""

    def __init__(self, answer: Answer, console: Console) -> None:
        self._answer = answer
        terminal = console.is_terminal and not console.is_dumb_terminal
        self._fancy = terminal and console.width >= NARROW
        self._marks = UNICODE if terminal and not console.options.ascii_only else ASCII
        self._width = console.width
        self._console = console if self._fancy else Console(file=console.file, width=_ANY_WIDTH)

    def text(self) -> str:
        """All of it."""
        with self._console.capture() as captured:
            for part in self._parts():
                self._console.print(part, highlight=False)
        lines = captured.get().splitlines()
        return "\n".join(line.rstrip() for line in lines)

    def _parts(self) -> Iterator[RenderableType]:
        answer = self._answer
        yield Text(heading(answer), "" if answer.losses else "green")
        if answer.losses:
            yield self._records()
            yield ""
            yield self._totals()
            yield ""
            question = answer.question
            since, until = question.since, question.until
            yield from timeline(answer.losses, since, until, self._width, self._marks)
        for one in answer.sampled:
            yield ""
            yield from self._samples(one)
        if answer.earlier:
            yield Text(f"earlier records: {format_count(answer.earlier)}; see them with --since")
        for text in answer.present:
            yield Text(printable(text), "yellow")

    def _records(self) -> Table:
        """Every record; the date once for all of a day, where people read it."""
        table = _table(fancy=self._fancy)
        table.add_column("from (UTC)", no_wrap=True)
        table.add_column("lasted", justify="right", no_wrap=True)
        table.add_column("interface", no_wrap=True)
        table.add_column("stage", no_wrap=True)
        table.add_column("packets", justify="right", no_wrap=True)
        table.add_column("cause", overflow="fold")
        apart = not self._fancy or self._width >= ROOMY
        if apart:
            table.add_column("what to change", overflow="fold")
        day = ""
        for loss in self._answer.losses:
            date, moment = clock(loss.since).split()
            if self._fancy and date != day:
                day = date
                table.add_row(Text(date, "bold"))
            begin = f"{moment}.{loss.since % SECOND // 10**6:03}"
            if not self._fancy:
                begin = f"{format_time(loss.since)[:23]}Z"
            cells = [begin, *_cells(loss, self._marks)]
            change = printable(loss.change)
            if apart:
                cells.append(change)
            elif change:
                cells[-1] += f"\n{'->' if self._marks is ASCII else '→'} {change}"
            table.add_row(*map(Text, cells))
        return table

    def _totals(self) -> Table:
        table = _table(fancy=self._fancy)
        for name in ("stage", "records", "packets", "lasted"):
            table.add_column(name, justify="left" if name == "stage" else "right", no_wrap=True)
        for stage, total in self._answer.totals.items():
            packets = "-" if stage == "link" else _sum(total, self._marks)
            cells = (printable(stage), format_count(total.records), packets, lasting(total.lasted))
            table.add_row(*map(Text, cells))
        return table

    def _samples(self, sampled: Sampled) -> Iterator[RenderableType]:
        """A line for each thing that was sampled around one loss."""
        loss = sampled.loss
        title = f"{loss.interface or 'the machine'}, {loss.stage}, {clock(loss.since)}: "
        span = samples.span(sampled.samples)
        if not sampled.samples:
            title += f"{loss.samples} is not kept any more"
        else:
            title += f"{len(sampled.samples)} samples"
            if span is not None:
                begin, end = (f"{format_time(moment)[11:23]}" for moment in span)
                title += f" from {begin} to {end} UTC"
        yield Text(printable(title), "bold")
        if not sampled.samples:
            return
        table = _table(fancy=self._fancy)
        for name in ("sampled", "least", "most", "over time"):
            table.add_column(name, justify="right" if name in ("least", "most") else "left")
        columns = max(10, min(100, self._width - 40))
        for line in samples.lines(sampled.samples, columns, self._marks.levels):
            table.add_row(*map(Text, line))
        yield table


def heading(answer: Answer) -> str:
    """What was asked, and whether anything was lost at all."""
    question = answer.question
    of = f" of {', '.join(question.interfaces)}" if question.interfaces else ""
    at = f" at {', '.join(question.stages)}" if question.stages else ""
    span = f"from {clock(question.since)} to {clock(question.until)} UTC"
    if answer.losses:
        return f"losses{of}{at} {span}"
    text = f"nothing{of} was lost{at} {span}"
    if answer.strange:
        return f"there is no record{of}{at} {span}"
    if not answer.kept:
        return f"{text}, as far as is known: there is no record of a loss in {question.directory}"
    if answer.troubles:
        return f"{text}, as far as the ledger in {question.directory} can be read"
    known = ", as far as is known" if answer.unknown else ""
    return f"{text}{known}: the ledger in {question.directory} has no record of it"


def _cells(loss: Loss, marks: Marks) -> list[str]:
    """All of a record but its beginning and what to change."""
    lasted = "goes on" if loss.until is None else lasting(max(0, loss.until - loss.since))
    packets = "unknown"
    if loss.stage == "link":
        packets = "-"
    elif loss.packets is not None:
        packets = _most(loss.packets, marks, at_most=loss.at_most)
    where = printable(loss.interface) or "(machine)"
    return [lasted, where, printable(loss.stage), packets, printable(loss.cause)]


def _most(packets: int, marks: Marks, *, at_most: bool) -> str:
    sign = "<= " if marks is ASCII else "≤ "
    return (sign if at_most else "") + format_count(packets)


def _sum(total: Total, marks: Marks) -> str:
    if total.unknown == total.records:
        return "unknown"
    text = _most(total.packets, marks, at_most=total.at_most)
    return f"{text} + unknown of {format_count(total.unknown)}" if total.unknown else text


def _table(*, fancy: bool) -> Table:
    shape = box.SIMPLE_HEAD if fancy else None
    return Table(box=shape, padding=(0, 0, 0, 1 if fancy else 2), pad_edge=False, show_edge=False)
