"""What is done to capd, and when: all of it from one seed, so that a run can be had again.

In each minute some kinds of processes are spared, so that others get old enough to leak.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.soaking.settings import BAD, INTERFACES, Settings, another

ROLES = ("worker", "daemon", "archive", "exec", "metrics", "extraction")
_SPAN = 60.0  # seconds for which the same kinds are spared
_STARVES_EVERY = 100.0
_MOVES_EVERY = 35.0  # seconds after which files go another way: compressed or not, moved or not
_PAUSES = (1.0, 5.0)  # seconds between two acts, at least and at most
_WEIGHTS = {"kill": 12, "halt": 4, "reload": 6, "bad": 2, "restart": 2, "flap": 2, "remake": 2}
_HALTS = {"worker": 2.5, "daemon": 1.0, "archive": 5.0, "extraction": 3.0}  # seconds at most


@dataclass(frozen=True)
class Step:
    """One act: when (seconds since the start), what, and to whom.

    seconds   for how long
    settings  those in force from then on
    text      what is appended to them, so that they are bad
    """

    at: float
    kind: str
    role: str = ""
    which: int = 0
    seconds: float = 0.0
    settings: Settings = field(default_factory=Settings)
    text: str = ""


def steps(seed: int, seconds: float) -> Iterator[Step]:
    """For so long; the same for the same seed, but for their number."""
    rng = random.Random(seed)
    roles = rng.sample(ROLES, len(ROLES))  # whose turn it is
    settings, at, starved, moved = Settings(), 5.0, 0.0, 0.0
    while at < seconds:
        spared = sorted(ROLES)[:3] if at // _SPAN % 2 else sorted(ROLES)[3:]
        kind = rng.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        if at - starved > _STARVES_EVERY:
            kind, starved = "starve", at
        elif at - moved > _MOVES_EVERY:
            kind, moved = "reload", at
            settings = settings.elsewhere()
            yield Step(at, kind, settings=settings)
        else:
            step = _step(rng, at, kind, settings, [one for one in roles if one not in spared])
            settings = step.settings
            if kind == "kill":
                roles.remove(step.role)
                roles.append(step.role)
            yield step
        if kind == "starve":
            yield Step(at, kind, "", rng.randrange(len(INTERFACES)), settings=settings)
        at += rng.uniform(*_PAUSES)


def _step(rng: random.Random, at: float, kind: str, settings: Settings, roles: list[str]) -> Step:
    which = rng.randrange(len(INTERFACES))
    if kind == "kill":
        return Step(at, kind, roles[0], which, settings=settings)
    if kind == "halt":
        role = rng.choice(list(_HALTS))
        return Step(at, kind, role, which, rng.uniform(0.1, _HALTS[role]), settings)
    if kind == "reload":
        return Step(at, kind, settings=another(settings, rng))
    if kind == "bad":
        role = rng.choice(["", "daemon", "restart"])  # what happens under it
        return Step(at, kind, role, settings=settings, text=rng.choice(BAD))
    seconds = {"flap": rng.uniform(0.05, 3), "remake": rng.uniform(0.05, 3)}.get(kind, 0.0)
    return Step(at, kind, "", which, seconds, settings)
