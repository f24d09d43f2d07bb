"""The configs of a soak: one is in force, and a reload brings another that differs in one thing.

Whatever differs, every frame of the soak must be recorded under it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

INTERFACES = ("soak0", "soak1")
SHARE = 70  # percent of either disk that may be in use
METRICS = "127.0.0.1:9917"

_FILTERS = ("", "udp", "udp port 9", "not port 22", "ether proto 0x0800")
_RINGS = (16, 32, 64)  # MiB
_SIZES = (8, 16, 64)
_FLUSHES = (250, 500, 1000)  # ms

BAD = (
    '\n[capture]\nrotate_size = "512 potatoes"\n',  # a table that is there twice
    '\n[[interface]]\nname = "soak0"\nfilter = "udp prot 9"\n',
    '\n[[interface]]\nname = "other"\nring_sise = "1GiB"\n',
    "\n[storage\n",
)


@dataclass(frozen=True)
class Settings:
    """What a reload may change."""

    filters: tuple[str, ...] = ("", "")
    rings: tuple[int, ...] = (32, 32)
    rotate_size: int = 16
    flush: int = 250
    compress: bool = True
    archive: bool = True

    def text(self, first: str, second: str, hook: str) -> str:
        """As a config file, with both directories, and the command for each finished segment."""
        interfaces = "".join(
            f'[[interface]]\nname = "{name}"\nfilter = "{text}"\nring_size = "{ring}MiB"\n'
            for name, text, ring in zip(INTERFACES, self.filters, self.rings, strict=True)
        )
        rules = f'max_usage = "{SHARE}%"\nrequire_mount = true\n'
        archive = f'[archive]\ndirectory = "{second}"\n{rules}' if self.archive else ""
        return (
            f'[storage]\ndirectory = "{first}"\n{rules}sync_interval = "1s"\n'
            f'[capture]\nrotate_interval = "5s"\nrotate_size = "{self.rotate_size}MiB"\n'
            f'flush_interval = "{self.flush}ms"\n'
            f"[compression]\nenabled = {str(self.compress).lower()}\n"
            f'{archive}[hook]\nsegment_closed = ["{hook}"]\nkeep_until_done = true\n'
            f'[metrics]\nlisten = "{METRICS}"\n{interfaces}'
        )

    def elsewhere(self) -> Settings:
        """The same, but files go the next of four ways: compressed or not, moved or not."""
        return replace(self, compress=not self.compress, archive=self.archive ^ self.compress)

    def starving(self, which: int) -> Settings:
        """The same, with the least ring for one interface."""
        rings = list(self.rings)
        rings[which] = 4
        return replace(self, rings=tuple(rings))


def another(before: Settings, rng: random.Random) -> Settings:
    """One that differs in one thing."""
    which = rng.randrange(len(INTERFACES))
    while True:
        filters, rings = list(before.filters), list(before.rings)
        filters[which], rings[which] = rng.choice(_FILTERS), rng.choice(_RINGS)
        after = rng.choice(
            [
                replace(before, filters=tuple(filters)),
                replace(before, rings=tuple(rings)),
                replace(before, rotate_size=rng.choice(_SIZES)),
                replace(before, flush=rng.choice(_FLUSHES)),
            ]
        )
        if after != before:
            return after
