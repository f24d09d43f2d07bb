"""From the line that somebody has to a running service: README's commands, as they stand there.

What README shows of the answers must be in them, in that order; `...` alone stands for any lines,
and at the end of a line for the rest of it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from tests.support import judge
from tests.support.frames import Shape, Stream
from tests.support.machine import Machine
from tests.support.need import need, need_frame_source
from tests.support.recorder import parts, segments
from tests.support.roots import CHECKOUT
from tests.support.xdp import FrameSource

SECTION = "## Coming from tcpdump, dumpcap and their scripts"
ANY = "..."
COUNT = 1_000


class Step(NamedTuple):
    """A command of the transcript, and what is shown of its answer."""

    command: str
    shown: list[str]


def steps() -> list[Step]:
    """All of the section."""
    text = (CHECKOUT / "README.md").read_text().split(f"\n{SECTION}\n")[1].split("\n## ")[0]
    lines = [line.removeprefix("    ") for line in text.splitlines() if line.startswith("    ")]
    found: list[Step] = []
    waits_for = ""  # the word that ends the command's own lines
    for line in lines:
        if waits_for or (found and not found[-1].shown and found[-1].command.endswith("\\")):
            found[-1] = found[-1]._replace(command=f"{found[-1].command}\n{line}")
            waits_for = "" if line == waits_for else waits_for
        elif line.startswith("$ "):
            found.append(Step(line.removeprefix("$ "), []))
            document = re.search(r"<<(\w+)$", line)
            waits_for = document[1] if document else ""
        else:
            found[-1].shown.append(line)
    return found


def expect_in_order(step: Step, said: str) -> None:
    """Each line that is shown comes, those before it first."""
    rest = iter(said.splitlines())
    for line in step.shown:
        if line != ANY:
            start = line.removesuffix(ANY)
            cut = len(start) if line.endswith(ANY) else None
            assert any(start == one[:cut] for one in rest), f"{step.command}: {line!r} in\n{said}"


def captured(folder: Path, name: str, stream: Stream) -> list[int]:
    files = segments(folder, name) + parts(folder, name)
    for file in files:
        judge.assert_clean(file)
    return judge.numbers(files, stream)


def test_from_a_line_to_a_service() -> None:
    """The config is the line's, it is in force, and both interfaces' packets are there."""
    need_frame_source()
    need("tshark", "capinfos", "tcpdump")
    streams = {name: Stream(Shape.fixed(700)) for name in ("eth0", "eth1")}
    with Machine() as machine:
        indexes = {name: machine.add_veth(name, f"{name}p") for name in streams}
        ran = []
        for step in steps():
            done = machine.run("bash", "-c", f"cd /root && {step.command}", check=False)
            expect_in_order(step, done.stdout + done.stderr)
            ran.append((step.command.split()[0], done.returncode))
        assert [(name, code) for name, code in ran if code] == [("capd", 2)]  # the first check
        assert machine.property("UnitFileState") == "enabled"
        for name, stream in streams.items():
            with FrameSource(stream, indexes[name], machine.name) as source:
                source.inject_at(10_000, COUNT)
        machine.systemctl("stop", "capd")
        for name, stream in streams.items():
            assert captured(machine.root / "data" / "capd", name, stream) == [*range(COUNT)]
