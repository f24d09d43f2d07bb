"""What came of a soak, as lines for people and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from tests.soaking.processes import MIB, growths
from tests.soaking.reader import STREAMS
from tests.soaking.settings import INTERFACES
from tests.soaking.soak import Soak


@dataclass(frozen=True)
class Summary:
    """All figures of a run."""

    minutes: float
    seed: int
    frames: int
    acts: dict[str, int]
    segments: int
    thorough: int  # of these files, read by tshark and capinfos as well
    deleted: int  # segments, by retention
    extracted: int
    incomplete: int  # extractions that said that something is missing
    lost: int  # neither in a segment nor on record
    twice: int
    counted: int  # on record as lost
    growth: dict[str, dict[str, tuple[float, float]]]
    problems: list[str]

    @staticmethod
    def of(soak: Soak, minutes: float, seed: int, lost: dict[str, tuple[int, int]]) -> Summary:
        """Of one that has ended."""
        missing = sum(one for one, _ in lost.values())
        counted = soak.journals.lost
        growth: dict[str, dict[str, tuple[float, float]]] = {}
        for one in growths(soak.samples.taken):
            if " " not in one.of:
                growth.setdefault(one.of, {})[one.what] = one.first, one.last
        return Summary(
            minutes,
            seed,
            sum(one.next - stream.first for one, stream in zip(soak.senders, STREAMS, strict=True)),
            dict(sorted(soak.log.acts.items())),
            soak.books.segments,
            soak.books.thorough,
            len(soak.copies.gone_at),
            soak.books.extracted,
            soak.books.incomplete,
            max(0, missing - sum(counted.get(name, 0) for name in INTERFACES)),
            sum(account.twice for account in soak.books.accounts),
            sum(counted.values()),
            growth,
            soak.log.problems,
        )

    def json(self) -> str:
        """All of it."""
        return json.dumps(asdict(self), indent=1)

    def lines(self) -> list[str]:
        """For people."""
        acts = ", ".join(f"{count} {kind}" for kind, count in self.acts.items() if kind != "end")
        said = [
            f"{self.minutes:g} minutes, seed {self.seed}: {self.frames:,} frames",
            f"done to it: {acts}",
            f"{self.segments:,} files of segments read, {self.thorough:,} by tshark, too",
            f"{self.deleted:,} segments deleted, {self.extracted:,} frames extracted",
            f"lost {self.lost:,}, twice {self.twice:,}, counted as lost {self.counted:,}",
        ]
        for role, what in self.growth.items():
            memory = " -> ".join(f"{one / MIB:.1f}" for one in what["memory"])
            files = " -> ".join(f"{one:.0f}" for one in what["descriptors"])
            threads = " -> ".join(f"{one:.0f}" for one in what["threads"])
            said.append(f"{role}: {memory} MiB, {files} descriptors, {threads} threads")
        said.append(f"{len(self.problems)} problems")
        return said + [f"  {problem}" for problem in self.problems]
