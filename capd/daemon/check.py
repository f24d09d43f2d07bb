"""`capd check`: every problem of a config, what is worth a warning, and what it comes to.

It changes nothing, except that it makes the capture directory if there is none and puts
a probe file into it for a moment.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator

from capd import ring
from capd.config import Config, load, name_kind
from capd.daemon import links, plans
from capd.daemon.directory import check_directory, mount_point
from capd.errors import StorageError
from capd.units import SECOND, format_duration, format_size

RESTART_PAUSE = (
    150 * SECOND // 1000
)  # ns between the last block of a worker and the next one's first
WHOLE_FRAMES = 65535  # bytes: the longest frame but for those that offloads merge
FRAME_OVERHEAD = 1.2  # a ring holds less payload than its size: headers, and the block being filled


def check(path: str) -> int:
    """Print all about the config in this file; gives the exit code, 2 when it cannot be used."""
    config = load(path)
    present = asyncio.run(links.look())
    resolved = plans.resolve(config, present)
    found = list(problems(config, resolved))
    for problem in found:
        print(f"{path}: {problem}", file=sys.stderr)
    for warning in warnings(config, present, resolved):
        print(f"{path}: warning: {warning}", file=sys.stderr)
    for wanted in resolved.rings.values():
        print("\n".join(describe(wanted)))
    print("\n".join(totals(config, resolved)))
    return 2 if found else 0


def problems(config: Config, resolved: plans.Resolved) -> Iterator[str]:
    """What `capd run` would refuse."""
    yield from plans.filter_problems(config)
    for name, reason in resolved.refused.items():
        yield f"{name}: {reason}"
    sizes = [wanted.plan.geometry.size for wanted in resolved.rings.values()]
    memory = plans.memory_problem(sizes, ring.available_memory())
    if memory is not None:
        yield memory
    try:
        check_directory(config.storage.directory, require_mount=config.storage.require_mount)
    except StorageError as error:
        yield f"storage.directory: {error}"


def warnings(config: Config, present: links.Links, resolved: plans.Resolved) -> Iterator[str]:
    """What works and is probably not meant."""
    for name in resolved.waiting:
        yield _absence(name)
    for name, wanted in resolved.rings.items():
        bond = present.by_name[name].bond
        if bond in resolved.rings:
            yield f"{name} is a member of {bond}, which is captured too: its packets come twice"
        for offload in links.merging_offloads(name):
            yield (
                f"{name}: {offload} is on: packets are merged before they are recorded; "
                f"ethtool -K {name} {offload} off keeps them as they were on the wire"
            )
        held = ring_seconds(wanted)
        if held is not None and held < 2 * RESTART_PAUSE / SECOND:
            yield (
                f"{name}: its ring holds {held:.2f} s at link speed, less than twice the "
                f"{format_duration(RESTART_PAUSE)} of a restart; make ring_size larger"
            )
    directory = config.storage.directory
    if mount_point(directory) == directory and not config.storage.require_mount:
        yield f"{directory} is a mount; require_mount = true keeps capd from writing below it"
    for key in config.without_effect():
        yield f"{key} has no effect yet"


def _absence(name: str) -> str:
    if name == "@default":
        found = "no default route, or another entry has its interface"
    elif name_kind(name) == "pattern":
        found = "no interface matches, or other entries have those that do"
    else:
        found = "there is no such interface"
    return f'"{name}": {found}; capd waits for one'


def ring_seconds(wanted: plans.RingPlan) -> float | None:
    """Seconds of traffic at link speed that the ring holds; None where the speed is unknown."""
    speed = wanted.plan.source.speed
    return wanted.plan.geometry.size / FRAME_OVERHEAD / (speed / 8) if speed else None


def describe(wanted: plans.RingPlan) -> Iterator[str]:
    """The effective settings of one interface, a line each."""
    plan, source, shape = wanted.plan, wanted.plan.source, wanted.plan.geometry
    held = ring_seconds(wanted)
    speed = f"{source.speed / 1e9:g} Gb/s" if source.speed else ""
    cut = "" if source.snaplen >= WHOLE_FRAMES else " (longer packets are cut)"
    rows = {
        "filter": source.filter or "none: everything is recorded",
        "snaplen": f"{format_size(source.snaplen)}{cut}",
        "promiscuous": "yes" if wanted.promiscuous else "no",
        "record_direction": "yes" if source.record_direction else "no",
        "ring_size": f"{format_size(shape.size)}, {shape.blocks} blocks of "
        f"{format_size(shape.block_size)}; "
        + (f"holds {held:.2f} s at {speed}" if held else "the link does not tell its speed"),
        "rotation": f"at {format_size(plan.rotate_size)}, and every "
        f"{format_duration(plan.rotate_interval)} by UTC",
        "flush_interval": f"{format_duration(shape.retire_ms * 10**6)}; a packet is in its file "
        "within twice that",
    }
    yield source.interface
    yield from (f"  {key:<17} {value}" for key, value in rows.items())


def totals(config: Config, resolved: plans.Resolved) -> Iterator[str]:
    """What all interfaces come to together."""
    storage = config.storage
    memory = sum(wanted.plan.geometry.size for wanted in resolved.rings.values())
    available = format_size(ring.available_memory())
    yield f"memory: {format_size(memory)} of rings, {available} available"
    yield f"a power cut costs at most {format_duration(storage.sync_interval)} and one write"
    try:
        space = os.statvfs(storage.directory)
    except OSError:
        return
    free = space.f_bavail * space.f_frsize
    mount = mount_point(storage.directory)
    yield f"disk: {format_size(free)} free for {storage.directory}, mounted at {mount}"
    speeds = [wanted.plan.source.speed for wanted in resolved.rings.values()]
    rate = sum(speed for speed in speeds if speed) / 8
    if rate:
        rest = "" if all(speeds) else ", not counting links that do not tell their speed"
        full = format_duration(max(1, int(free / rate)) * SECOND)
        yield f"worst case: full links fill it in {full}{rest}; nothing is deleted yet"
