"""What `capd tune` makes of a driver that rounds and has a maximum, and its words, without both.

The NIC here is a stand-in for hardware: no ring of a NIC can be changed on this machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pyroute2.ethtool.ethtool import EthtoolRings
from pyroute2.ethtool.ioctl import NotSupportedError

from capd.config import Config, Interface
from capd.config_tuning import MOST, Coalesce, InterfaceTuning, Tuning
from capd.tuning import sysctl
from capd.tuning.effects import Traits, effect
from capd.tuning.nic import Nics
from capd.tuning.record import Record, opened
from capd.tuning.targets import Subject, Target, Wish, resets, wishes
from capd.tuning.tuner import Account, Tuner

RING = Target("ring", "eth0", 3)
NO_SETTING = "its driver has no such setting, or does not let it be changed"
COALESCE = Target("coalesce", "eth0", 3)


class Driver:
    """Rings of powers of two, up to 4096; coalescing in steps of four, in place or not at all."""

    def __init__(self) -> None:
        self.rx = 256
        self.coalesce = dict.fromkeys(
            (
                *("use_adaptive_rx_coalesce", "rx_coalesce_usecs", "rx_max_coalesced_frames"),
                *("rx_coalesce_usecs_irq", "rx_max_coalesced_frames_irq"),
            ),
            0,
        )
        self.resets = 0

    def get_rings(self, _: str) -> EthtoolRings:
        return EthtoolRings(rx=self.rx, rx_max=4096)

    def set_rings(self, _: str, rx: int) -> None:
        if rx > 4096:
            raise OSError(22, "Invalid argument")
        self.rx = 1 << (rx - 1).bit_length()
        self.resets += 1

    def get_coalesce(self, _: str) -> dict[str, int]:
        return dict(self.coalesce)

    def set_coalesce(self, _: str, values: dict[str, int]) -> None:
        if "rx_coalesce_usecs_irq" in values:
            raise NotSupportedError
        self.coalesce |= {key: value // 4 * 4 for key, value in values.items()}

    def close(self) -> None:
        """It is not there."""


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with opened(str(tmp_path)) as record:
        yield record


def apply(driver: Driver, record: Record, *wanted: Wish) -> Account:
    tuner = Tuner(Nics(driver), record, {3: "eth0"}, ())
    tuner.apply(wanted)
    return tuner.account


def test_the_most_that_a_driver_has(record: Record) -> None:
    """A number that is too large becomes that, and is told; "max" is no mistake."""
    driver = Driver()
    account = apply(driver, record, Wish(RING, {"rx": MOST}))
    assert account.done == ["eth0 ring rx: 256 -> 4096; many drivers reset the link for that"]
    account = apply(driver, record, Wish(RING, {"rx": 9999}))
    assert account.done == ["eth0 ring rx: 9999 is more than its driver's most, 4096"]
    assert (driver.resets, account.troubles) == (1, [])


def test_a_driver_that_rounds_is_asked_once(record: Record) -> None:
    driver = Driver()
    account = apply(driver, record, Wish(RING, {"rx": 1000}))
    assert "256 -> 1024, the nearest to 1000 there is; many" in account.done[0]
    assert apply(driver, record, Wish(RING, {"rx": 1000})) == Account()
    assert driver.resets == 1
    apply(driver, record, Wish(RING, {"rx": 500}))
    assert (driver.rx, driver.resets) == (512, 2)
    apply(driver, record)
    assert (driver.rx, list(record)) == (256, [])


def test_one_setting_that_fails_does_not_hinder_its_group(record: Record) -> None:
    driver = Driver()
    values = {"rx_usecs": 9, "rx_usecs_irq": 8, "rx_frames": 3}
    account = apply(driver, record, Wish(COALESCE, values))
    assert account.done == ["eth0 coalesce rx_usecs: 0 -> 8, the nearest to 9 there is"]
    assert account.troubles == [
        f"cannot set eth0 coalesce rx_usecs_irq: {NO_SETTING}",
        "cannot set eth0 coalesce rx_frames: its driver leaves it as it is",
    ]
    assert [(one.key, one.old) for one in record] == [("rx_usecs", 0)]


def test_wishes_come_in_an_order_in_which_none_undoes_another() -> None:
    tuning = Tuning.model_validate(
        {
            "ring": "max",
            "coalesce": {"rx_usecs": 5, "adaptive_rx": False},
            "offloads": {"gro": False},
            "channels": {"combined": 2},
            "sysctl": {"net.core.dev_weight": 128},
        }
    )
    config = Config(tuning=tuning, interface=(Interface(name="eth0"),))
    found = wishes(config, [Subject("eth0", 3, config.tuned(config.interface[0]))])
    assert [(wish.target.title, wish.values) for wish in found] == [
        ("net.core.dev_weight", {"": "128"}),
        ("eth0 channels", {"combined": 2}),
        ("eth0 ring", {"rx": MOST}),
        ("eth0 coalesce", {"rx_usecs": 5, "adaptive_rx": 0}),
        ("eth0 offloads", {"gro": 0}),
    ]
    assert [resets(wish.target, set(wish.values)) for wish in found] == [False, True, True] + 2 * [
        False
    ]
    assert resets(Target("offloads", "eth0", 3), {"rx-lro"})
    nothing = InterfaceTuning(coalesce=Coalesce())
    assert wishes(Config(interface=(Interface(name="eth0"),)), [Subject("eth0", 3, nothing)]) == []


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("net.core.rmem_max", "/proc/sys/net/core/rmem_max"),
        ("net/ipv4/conf/eth0.100/rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
        ("net.ipv4.conf.eth0/100.rp_filter", "/proc/sys/net/ipv4/conf/eth0.100/rp_filter"),
    ],
)
def test_names_of_sysctls_are_those_of_sysctl(name: str, path: str) -> None:
    assert sysctl.path(name) == path


@pytest.mark.parametrize(
    ("target", "key", "value", "words"),
    [
        (Target("sysctl", "net.core.rmem_max"), "", "1", "nothing: a ring is mapped memory"),
        (Target("sysctl", "net.ipv4.tcp_rmem"), "", "1", "nothing: packets are recorded before"),
        (Target("sysctl", "net.core.somaxconn"), "", "1", "nothing that capd knows of"),
        (Target("offloads", "eth0", 3), "rx-gro", 1, "packets are merged before capd sees them"),
        (Target("offloads", "eth0", 3), "rx-lro", 0, "packets come as they were on the wire"),
        (Target("offloads", "eth0", 3), "tx-tcp6-segmentation", 1, "recorded before it is cut"),
        (RING, "rx", 256, "more of it where rx_missed_errors grows"),
    ],
)
def test_what_a_setting_does(target: Target, key: str, value: int | str, words: str) -> None:
    assert words in effect(target, key, value, ())


def test_the_backlog_matters_to_those_who_wait_there() -> None:
    target = Target("sysctl", "net.core.netdev_max_backlog")
    plain = Traits("eth0", virtual=False, steered=False)
    steered = Traits("eth1", virtual=False, steered=True)
    virtual = Traits("v0", virtual=True, steered=False)
    assert effect(target, "", "1000", [plain]).startswith("nothing: only packets steered by RPS")
    assert "those of eth1 do, because of RPS" in effect(target, "", "1", [plain, steered, virtual])
    assert "those of v0 may, having no device" in effect(target, "", "1000", [plain, virtual])
