"""Rules of retention that keep less, or more, than whoever wrote them will think."""

from __future__ import annotations

import os
from collections.abc import Iterator

from capd.config import Config
from capd.daemon import plans
from capd.daemon.directory import existing
from capd.daemon.upkeep import territory_of
from capd.units import format_duration, format_size

FILES_AT_LEAST = 3  # the one being written, the next, and one that is finished


def retention_doubts(config: Config, resolved: plans.Resolved) -> Iterator[str]:
    """Rules that leave too little to keep a finished file of each interface."""
    storage = config.storage
    space = os.statvfs(existing(storage.directory))
    total = space.f_blocks * space.f_frsize
    policy = territory_of(config, storage, {}).policy
    room = total - policy.reserve(total)
    key = policy.space_rule(total)
    if storage.max_size is not None and storage.max_size < room:
        room, key = storage.max_size, "max_size"
    files = FILES_AT_LEAST * sum(wanted.plan.rotate_size for wanted in resolved.rings.values())
    if room < files:
        yield (
            f"storage.{key}: leaves {format_size(room)}, less than {FILES_AT_LEAST} files of each "
            f"interface ({format_size(files)}): make rotate_size smaller"
        )
    if storage.max_files is not None and storage.max_files < len(resolved.rings):
        yield f"storage.max_files: {storage.max_files} is less than one file of each interface"
    limits = {one.name: one.max_size for one in config.interface}
    for name, wanted in resolved.rings.items():
        own, files = limits[wanted.entry], FILES_AT_LEAST * wanted.plan.rotate_size
        if own is not None and own < files:
            yield (
                f"{name}: max_size {format_size(own)} is less than {FILES_AT_LEAST} files "
                f"({format_size(files)}): make rotate_size smaller"
            )
    yield from dict.fromkeys(_age_doubts(config, resolved))


def _age_doubts(config: Config, resolved: plans.Resolved) -> Iterator[str]:
    """The newest finished file stays, and begins up to two intervals ago."""
    own = {one.name: one.max_age for one in config.interface}
    for name, wanted in resolved.rings.items():
        interval = wanted.plan.rotate_interval
        for key, age in (
            ("storage.max_age", config.storage.max_age),
            (f"{name}: max_age", own[wanted.entry]),
        ):
            if age is not None and age < 2 * interval:
                yield (
                    f"{key}: {format_duration(age)} cannot be kept to: files are of "
                    f"{format_duration(interval)}, and the newest finished one stays until the "
                    "next: make rotate_interval shorter"
                )
