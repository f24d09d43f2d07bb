"""What a config comes to on given links."""

from __future__ import annotations

import dataclasses
import os
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest

from capd import filter_compiler, ring
from capd.config import Capture, Config, Interface
from capd.daemon import plans
from capd.daemon.links import LINKTYPE_RADIOTAP, LINKTYPE_RAW, Link, Links
from capd.daemon.plans import (
    compiled,
    default_ring_size,
    filter_problems,
    filter_request,
    memory_problem,
    resolve,
)
from capd.errors import CompilerError
from capd.pcapng import LINKTYPE_ETHERNET
from tests.support.need import lacking, need_root
from tests.support.net import Namespace, inside
from tests.support.wait import wait_for

MIB, GIB = 2**20, 2**30
ETHERNET, TUNNEL, RADIO, CAN = 1, 65534, 803, 280  # linux/if_arp.h


@pytest.fixture(autouse=True)
def _may_compile() -> None:
    need_root()


def links(default: str | None = None, **hardware: int) -> Links:
    """Links made by hand; no machine has any of these names."""
    by_name = {name: Link(name, index, kind) for index, (name, kind) in enumerate(hardware.items())}
    return Links(by_name, default)


def config(*interfaces: Interface, capture: Capture | None = None) -> Config:
    return Config(capture=capture or Capture(), interface=interfaces)


def test_settings_reach_the_plan() -> None:
    """An interface's own key, else [capture]'s."""
    shared = Capture.model_validate(
        {
            "filter": "udp",
            "snaplen": "96B",
            "ring_size": "32MiB",
            "rotate_size": "64MiB",
            "rotate_interval": "10min",
            "flush_interval": "200ms",
            "promiscuous": False,
        }
    )
    own = Interface.model_validate(
        {"name": "xb", "filter": "", "ring_size": "64MiB", "promiscuous": True, "direction": "in"}
    )
    resolved = resolve(
        config(Interface(name="xa"), own, capture=shared), links(xa=ETHERNET, xb=ETHERNET)
    )
    assert list(resolved.rings) == ["xa", "xb"]
    first, second = resolved.rings.values()
    assert (first.plan.source.filter, second.plan.source.filter) == ("udp", "inbound")
    assert (first.plan.source.snaplen, second.plan.source.snaplen) == (96, 96)
    assert (first.plan.geometry.size, second.plan.geometry.size) == (32 * MIB, 64 * MIB)
    assert (first.promiscuous, second.promiscuous) == (False, True)
    assert first.plan.rotate_size == second.plan.rotate_size == 64 * MIB
    assert first.plan.rotate_interval == 600 * 10**9
    assert first.plan.geometry.retire_ms == 200
    assert first.program != second.program


def test_equal_configs_are_equal_plans() -> None:
    """What is wanted and what runs are compared by equality; a new index is another ring."""
    wanted = config(Interface(name="xa"))
    present = links(xa=ETHERNET)
    (ring_plan,) = resolve(wanted, present).rings.values()
    assert resolve(wanted, present).rings["xa"] == ring_plan
    moved = Links({"xa": dataclasses.replace(present.by_name["xa"], index=7)}, None)
    assert resolve(wanted, moved).rings["xa"] != ring_plan
    assert resolve(wanted, moved).rings["xa"].plan == ring_plan.plan


def test_one_worker_per_interface() -> None:
    resolved = resolve(
        config(Interface(name="@default"), Interface(name="x*"), Interface(name="xa")),
        links(xa=ETHERNET, xb=ETHERNET, default="xb"),
    )
    assert sorted(resolved.rings) == ["xa", "xb"]
    assert list(resolved.waiting) == ["@default"]


@pytest.mark.fault(12)
def test_absent() -> None:
    names = ("xa", "y*", "any")
    resolved = resolve(config(*(Interface(name=name) for name in names)), links())
    assert (resolved.rings, resolved.refused) == ({}, {})
    assert resolved.waiting == {
        "xa": "there is no such interface; capd waits for one",
        "y*": "there is no interface like that; capd waits for one",
        "any": (
            'there is no such interface; capd waits for one; did you mean "*", all interfaces?'
        ),
    }


def test_kinds_of_packets() -> None:
    """What capd does not know it refuses by its number, and takes the rest."""
    resolved = resolve(config(Interface(name="x*")), links(xa=TUNNEL, xb=RADIO, xc=CAN))
    kinds = {name: wanted.plan.source.link_type for name, wanted in resolved.rings.items()}
    assert kinds == {"xa": LINKTYPE_RAW, "xb": LINKTYPE_RADIOTAP}
    assert resolved.refused == {
        "xc": "capd does not know its kind of packets (ARPHRD 280 of linux/if_arp.h); leave it out"
    }


@pytest.mark.parametrize(
    ("name", "told"), [("x\x1b[31m", "x\\x1b[31m"), ("x\udcff\udcfe", "x\\udcff\\udcfe")]
)
@pytest.mark.security("names")
def test_a_name_that_cannot_be_shown(name: str, told: str) -> None:
    """It would go into the terminal, the log and the folder's name as it is."""
    resolved = resolve(config(Interface(name="*")), Links({name: Link(name, 1, ETHERNET)}, None))
    assert resolved.rings == {}
    assert resolved.refused == {told: "its name cannot be printed; rename it"}


def test_names_that_can_be_shown() -> None:
    names = ("lan-ß", "a*b", '"q"', "-rf", "v0.100")
    present = Links({name: Link(name, 1, ETHERNET) for name in names}, None)
    assert set(resolve(config(Interface(name="*")), present).rings) == set(names)


def test_a_filter_that_this_kind_of_link_refuses() -> None:
    """No tags on a tunnel; the rest is captured."""
    resolved = resolve(
        config(Interface(name="x*"), capture=Capture(filter="vlan 5")),
        links(xa=TUNNEL, xb=ETHERNET),
    )
    assert list(resolved.rings) == ["xb"]
    assert resolved.refused == {"xa": "cannot use the filter 'vlan 5': no VLAN support for Raw IP"}


def test_filter_problems() -> None:
    """Of interfaces that are not there too, by the path of the key."""
    found = filter_problems(
        config(
            Interface(name="xa", filter="host example.com"),
            Interface(name="xb"),
            Interface(name="xc", filter="tcp"),
            Interface(name="xd", direction="in"),
            capture=Capture(filter="nonsense (("),
        )
    )
    assert [problem.partition(": ")[0] for problem in found] == [
        "capture.filter",
        "interface[0].filter",
    ]
    assert "syntax error; see pcap-filter(7)" in found[0]
    assert "capd accepts addresses only" in found[1]


def test_a_direction_that_contradicts_the_filter() -> None:
    found = filter_problems(
        config(
            Interface(name="xa", direction="in"),
            Interface(name="xb", direction="out"),
            capture=Capture(filter="outbound"),
        )
    )
    assert found == [
        (
            "interface[0].direction: cannot use the filter 'inbound and (outbound)': "
            "expression rejects all packets: it can match nothing"
        )
    ]


def test_a_filter_for_radio() -> None:
    """Ethernet has no such word; where the interface is a radio it is right."""
    wanted = config(Interface(name="xa", filter="type mgt"))
    assert filter_problems(wanted) == []
    assert list(resolve(wanted, links(xa=RADIO)).rings) == ["xa"]
    assert "supported only on 802.11" in resolve(wanted, links(xa=ETHERNET)).refused["xa"]


def test_default_ring_size() -> None:
    """A second at link speed, at most an eighth of the memory; a slow or silent link's own."""
    assert default_ring_size(10**10, 64 * GIB) == 10**10 // 8
    assert default_ring_size(10**10, 4 * GIB) == GIB // 2
    assert default_ring_size(None, 64 * GIB) == 256 * MIB
    assert default_ring_size(10**7, 64 * GIB) == 64 * MIB
    assert default_ring_size(10**7, GIB // 4) == 32 * MIB
    assert default_ring_size(10**10, 1) == ring.MIN_RING


def test_memory_problem() -> None:
    """Three quarters of what is available may go to rings."""
    assert memory_problem([], 0) is None
    assert memory_problem([GIB, 2 * GIB], 4 * GIB) is None
    assert memory_problem([GIB, 2 * GIB + 1], 4 * GIB) == (
        "the rings come to 3 GiB, more than 75% of the 4 GiB of memory available; "
        "make ring_size smaller"
    )


def test_a_filter_is_compiled_once() -> None:
    """Looking again at every change of a link costs no process."""
    request = plans.filter_request(Capture(filter="udp port 12345"), 1)
    first = plans.compiled(request)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert plans.compiled(request) == first
    assert resource.getrusage(resource.RUSAGE_CHILDREN) == before  # no child was started for it


def test_a_program_for_which_there_is_room_later() -> None:
    """How long one may be is a setting of the network; who raises it need not restart capd."""
    text = " or ".join(f"ether[{number}] = 1" for number in range(200))
    request = filter_request(Capture(filter=text), LINKTYPE_ETHERNET)
    with Namespace() as net, inside(net.name):
        if net.run(["sysctl", "-q", "net.core.optmem_max=20480"], check=False).returncode:
            lacking("net.core.optmem_max is not a namespace's own before Linux 6.8")
        assert "Cannot allocate memory" in str(compiled(request))
        net.run(["sysctl", "-q", "net.core.optmem_max=131072"])
        assert isinstance(compiled(request), bytes)


def compiler() -> int:
    """The process id of the compiler that runs for this process; 0 if none does."""
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if filter_compiler.__file__ in child.cmdline():
                return int(child.pid)
    return 0


@pytest.mark.parametrize(
    ("number", "lasts"),
    [(signal.SIGTERM, False), (signal.SIGHUP, False), (signal.SIGSEGV, True)],
    ids=["stop", "hang-up", "fault"],
)
def test_a_compiler_that_comes_to_its_end(number: signal.Signals, lasts: bool) -> None:
    """Somebody else's signal says nothing of the filter, which is asked for again."""
    text = " or ".join(f"host 10.{number.value}.{each}.1" for each in range(200))
    request = filter_request(Capture(filter=text), LINKTYPE_ETHERNET)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(compiled, request)
        os.kill(wait_for(compiler, 10, "the compiler"), number)
        outcome = future.result()
    assert f"did not survive it ({number.name})" in str(outcome)
    assert isinstance(outcome, CompilerError) is not lasts
    assert isinstance(compiled(request), bytes) is not lasts
