"""From the config and the machine's links to what each worker is to do.

A plan is everything that a worker knows: two equal plans mean the same work, so what is
wanted and what runs are compared by equality.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from capd import filter as filters
from capd import ring
from capd.config import Capture, Config, Interface
from capd.daemon import links
from capd.daemon.ringplan import RingPlan
from capd.daemon.running import Running
from capd.errors import CompilerError, FilterError
from capd.messages import Plan, Source
from capd.names import ring_name
from capd.pcapng import LINKTYPE_ETHERNET
from capd.units import format_size

UNKNOWN_SPEED_RING = 256 * 2**20  # bytes, where a link does not tell its speed
# a tunnel tells 10 Mb/s and carries what it can; and a slow link costs little memory like this
LEAST_DEFAULT_RING = 64 * 2**20
DEFAULT_SHARE = 8  # a ring of no stated size takes at most 1/8 of the machine's memory


@dataclass(frozen=True)
class Resolved:
    """What a config comes to on this machine now."""

    rings: dict[str, RingPlan]  # by the ring's name
    waiting: dict[str, str]  # names of entries that mean no interface at present, and why
    refused: dict[str, str]  # interfaces that cannot be captured, by printable names, and why
    unfit: dict[int, str]  # links among these, by index, that lack nothing but a program; why
    passing: bool  # whether that may be otherwise soon


def resolve(
    config: Config | None, present: links.Links, running: Running | None = None
) -> Resolved:
    """The plan of every interface that the config means and that is there.

    `running`: the rings that can go on; without it the plans are those of new ones.
    """
    if config is None:
        return Resolved({}, {}, {}, {}, passing=False)
    running = running or Running()
    rings: dict[str, RingPlan] = {}
    waiting: dict[str, str] = {}
    refused: dict[str, str] = {}
    unfit: dict[int, str] = {}
    passing = False
    for choice in links.choose(config, present):
        link = choice.link
        if link is None:
            waiting[choice.interface.name] = links.absence(choice.interface, present)
            continue
        if not link.name.isprintable():
            refused[printable(link.name)] = "its name cannot be printed; rename it"
            continue
        if link.link_type is None:
            refused[link.name] = (
                f"capd does not know its kind of packets (ARPHRD {link.hardware} of "
                "linux/if_arp.h); leave it out"
            )
            continue
        settings = config.settings(choice.interface)
        program = compiled(filter_request(settings, link.link_type))
        if isinstance(program, FilterError):
            refused[link.name] = unfit[link.index] = str(program)
            passing |= isinstance(program, CompilerError)
        else:
            wanted = _ring_plan(config, choice.interface, link, program, running)
            rings[wanted.name] = wanted
    return Resolved(rings, waiting, refused, unfit, passing)


def printable(name: str) -> str:
    """An interface's name as it may be shown: the kernel allows nearly every byte in it."""
    return name if name.isprintable() else name.encode("unicode_escape").decode()


def _ring_plan(
    config: Config, entry: Interface, link: links.Link, program: bytes, running: Running
) -> RingPlan:
    assert link.link_type is not None  # noqa: S101  there is a program for it
    settings = config.settings(entry)
    speed = running.speed(link.index, links.speed(link.name))
    source = Source(
        interface=link.name,
        ring=ring_name(link.name),
        link_type=link.link_type,
        speed=speed,
        filter=filters.effective(settings.filter, settings.direction),
        filter_since=0,
        snaplen=settings.snaplen,
        host=socket.gethostname(),
        record_direction=settings.record_direction,
    )
    size = settings.ring_size or default_ring_size(speed, ring.total_memory())
    shape = ring.geometry(size, settings.flush_interval)
    if settings.ring_size is None:
        shape = running.shape(link.index, entry.name, speed, shape)
    plan = Plan(
        source=source,
        geometry=shape,
        directory=config.storage.directory,
        rotate_size=settings.rotate_size,
        rotate_interval=settings.rotate_interval,
        sync_interval=config.storage.sync_interval,
        require_mount=config.storage.require_mount,
        cpus=tuple(sorted(set(entry.cpus or ()))),
        second="" if config.archive is None else config.archive.directory,
    )
    return RingPlan(plan, link.index, program, settings.promiscuous, entry.name)


def default_ring_size(speed: int | None, memory: int) -> int:
    """Bytes that hold one second at `speed` (bits/s), within a share of `memory` (bytes)."""
    wanted = max(LEAST_DEFAULT_RING, speed // 8) if speed else UNKNOWN_SPEED_RING
    return max(ring.MIN_RING, min(wanted, memory // DEFAULT_SHARE))


def filter_request(settings: Capture, link_type: int) -> filters.FilterRequest:
    """What is asked of libpcap for these settings."""
    return filters.FilterRequest(settings.filter, link_type, settings.snaplen, settings.direction)


def compiled(request: filters.FilterRequest) -> filters.Outcome:
    """A request's program, or why there is none."""
    try:
        return filters.compile_filters([request])[0]
    except CompilerError as error:
        return error


def unusable_filter(settings: Capture) -> FilterError | None:
    """Why these settings' filter cannot be used on any kind of link.  CompilerError: not known."""
    ethernet = compiled(filter_request(settings, LINKTYPE_ETHERNET))
    if isinstance(ethernet, bytes):
        return None
    if isinstance(ethernet, CompilerError):
        raise ethernet
    # Of the other kinds only radio has words that Ethernet does not know.
    radio = compiled(filter_request(settings, links.LINKTYPE_RADIOTAP))
    if isinstance(radio, CompilerError):
        raise radio
    return ethernet if isinstance(radio, FilterError) else None


def filter_problems(config: Config) -> list[str]:
    """Every filter that cannot be used, whether its interface exists or not.  CompilerError."""
    problems = []
    shared = unusable_filter(config.capture)
    if shared is not None:
        problems.append(f"capture.filter: {shared}")
    for index, entry in enumerate(config.interface):
        own = [key for key in ("filter", "direction") if key in entry.model_fields_set]
        if not own or (shared is not None and "filter" not in own):
            continue
        outcome = unusable_filter(config.settings(entry))
        if outcome is not None:
            problems.append(f"interface[{index}].{own[0]}: {outcome}")
    return problems


def memory_problem(sizes: list[int], memory: int) -> str | None:
    """Why rings of these sizes (bytes) cannot be had with this much memory available."""
    if sum(sizes) <= memory * ring.MEMORY_LIMIT:
        return None
    return (
        f"the rings come to {format_size(sum(sizes))}, more than {ring.MEMORY_LIMIT:.0%} of the "
        f"{format_size(memory)} of memory available; make ring_size smaller"
    )
