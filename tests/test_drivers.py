"""The table of drivers: sound in itself, and right about what real machines have printed.

`tests/data/ethtool/DRIVER.txt` are outputs of `ethtool -S` found in public; the first line says
where.  No others are known for: bonding, cxgb4, e1000, gve, hv_netvsc, igbvf, igc, ixgbevf, mana,
mlx4_en, nfp, qede, r8152, st_xgmac.
"""

from __future__ import annotations

import fnmatch
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from capd.daemon.drivers import BITS, ETHTOOL, NUMBER, gathered, lookup, table
from tests.support.need import need, need_namespaces
from tests.support.net import apart

ROOT = Path(__file__).resolve().parent.parent
TABLE = tomllib.loads((ROOT / "capd/daemon/drivers.toml").read_text())
RECORDINGS = sorted((ROOT / "tests/data/ethtool").glob("*.txt"))
KEYS = {
    *("lost", "else", "at_most", "includes", "bits", "detail", "words", "advice", "note"),
    "source",
}
# Names in the table that the machine of the recording was too old for, or had no use for.
LATER = {
    "ena": {
        *("queue_#_rx_xdp_drop", "bw_in_allowance_exceeded", "pps_allowance_exceeded"),
        *("conntrack_allowance_exceeded", "linklocal_allowance_exceeded"),
    },
    "i40e": {"rx_missed_errors", "port.rx_discards", "rx_alloc_fail", "rx_pg_alloc_fail"},
    "virtio_net": {"rx#_drops", "rx#_xdp_drops"},
}
EXPECTED = tomllib.loads((ROOT / "tests/data/ethtool/expected.toml").read_text())


def recording(path: Path) -> dict[str, int]:
    """The counters, as the daemon has them."""
    lines = path.read_text().splitlines()
    assert lines[0].startswith("# "), "the first line says where it is from"
    pairs = [line.rsplit(":", 1) for line in lines[1:]]
    return gathered((name, int(number)) for name, number in pairs if number)


def plain(name: str) -> str:
    """A counter of ethtool -S, as that calls it."""
    return name.removeprefix(ETHTOOL)


def example(name: str) -> str:
    """A counter that fits a name with numbers in it."""
    return name.replace(NUMBER, "7")


def held(row: dict[str, Any], counter: str) -> set[str]:
    """All that a counter contains, by the row, whatever the depth."""
    found: set[str] = set()
    todo = {counter}
    while todo:
        found |= todo
        todo = {inner for name in todo for inner in row.get("includes", {}).get(name, ())} - found
    return found - {counter}


@pytest.mark.parametrize("name", TABLE["driver"])
def test_row_is_sound(name: str) -> None:
    """It has a source, adds up only what is disjoint, and says why where it says nothing."""
    row = TABLE["driver"][name]
    assert set(row) <= KEYS
    assert row["source"]
    assert all(row["source"])
    assert row.get("lost") or row.get("note"), "why does it tell nothing?"
    assert set(row.get("detail", {})) <= set(TABLE["words"])
    sets = [row.get("lost", []), *row.get("else", [])]
    known = {*os.listdir("/sys/class/net/lo/statistics"), "backlog"}
    for counter in (
        *(counter for counters in sets for counter in counters),
        *row.get("includes", {}),
        *(inner for inners in row.get("includes", {}).values() for inner in inners),
        *row.get("bits", {}),
    ):
        assert counter.startswith(ETHTOOL) or counter in known
    for counters in sets:
        for counter in counters:
            assert not held(row, counter) & (set(counters) - {counter})
        if "rx_dropped" in counters:
            assert row["at_most"], "rx_dropped holds what the backlog dropped"
    if "else" in row:
        assert all(counter.startswith(ETHTOOL) for counters in sets for counter in counters)


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: path.stem)
def test_recorded_output(path: Path) -> None:
    """A real output has the names of the row, and gives the number and the names it should."""
    counters = recording(path)
    driver, expected = lookup(path.stem), EXPECTED[path.stem]
    names = [plain(name) for name in counters]
    picked = driver.detail(names)
    assert list(picked) == expected["picked"]
    assert all(picked.values()), "no words"
    suspect = set(lookup(None).detail(names))
    assert suspect - set(picked) == set(expected.get("left_out", ()))
    missing = {
        entry for entry in driver.words if not any(fits(entry, name) for name in names)
    } - LATER.get(path.stem, set())
    assert not missing
    assert driver.lost(counters) == expected.get("lost")
    if driver.sets:
        told = dict.fromkeys(os.listdir("/sys/class/net/lo/statistics"), 1)
        assert driver.lost(counters | told) is not None


def fits(entry: str, name: str) -> bool:
    """Whether a name is one that the table means (told by other means than the table's own)."""
    pattern = entry.replace("[", "[[]").replace(NUMBER, "[0-9]*")
    return name == entry or (NUMBER in entry and fnmatch.fnmatchcase(name, pattern))


def test_recordings_bear_the_numbers_out() -> None:
    """What went in less what came out is what the table calls lost."""
    folder = ROOT / "tests/data/ethtool"
    ixgbe = recording(folder / "ixgbe.txt")
    gone = ixgbe["ethtool:rx_pkts_nic"] - ixgbe["ethtool:rx_packets"]
    assert lookup("ixgbe").lost(ixgbe) == pytest.approx(gone, rel=1e-4)
    enic = recording(folder / "enic.txt")
    gone = enic["ethtool:rx_frames_total"] - enic["ethtool:rx_frames_ok"]
    assert lookup("enic").lost(enic) == gone
    mlx5 = recording(folder / "mlx5_core.txt")
    beyond_the_port = mlx5["ethtool:rx_packets_phy"] - mlx5["ethtool:rx_discards_phy"]
    assert beyond_the_port == pytest.approx(mlx5["ethtool:rx_vport_unicast_packets"], rel=1e-4)


@pytest.mark.fault(53)
@pytest.mark.parametrize("name", TABLE["driver"])
def test_unknown_counter_makes_the_sum_unknown(name: str) -> None:
    """Never a smaller number for want of a counter, and never one set's counters for another's."""
    driver = table()[name]
    if not driver.sets:
        assert driver.lost({"rx_missed_errors": 1, "rx_dropped": 1}) is None
        return
    first = driver.sets[0]
    counters: dict[str, int | None] = {
        example(counter): 10**place for place, counter in enumerate(first)
    }
    assert driver.lost(counters) == sum(10**place for place in range(len(first)))
    if len(driver.sets) == 1:
        for counter in counters:
            assert driver.lost(counters | {counter: None}) is None
            assert driver.lost({key: counters[key] for key in counters if key != counter}) is None
    assert driver.lost(dict.fromkeys(counters)) == (None if first else 0)


def test_counters_with_numbers_are_added_up() -> None:
    """One per queue, or per buffer group; one that is unknown makes all unknown."""
    driver = lookup("cxgb4")
    counters: dict[str, int | None] = dict(
        gathered(
            [
                ("rx_bg0_frames_dropped  ", 1),
                ("rx_bg1_frames_dropped  ", 20),
                ("rx_bg0_frames_trunc    ", 300),
                ("rx_bgx_frames_trunc    ", 5000),
            ]
        )
    )
    assert driver.lost(counters) == 321
    assert driver.lost(counters | {"ethtool:rx_bg1_frames_dropped": None}) is None


def test_same_name_for_each_queue() -> None:
    """vmxnet3 repeats its names; they are one counter."""
    counters = gathered([("  pkts rx OOB", 3), ("  pkts rx err", 1), ("  pkts rx OOB", 4)])
    assert counters == {"ethtool:pkts rx OOB": 7, "ethtool:pkts rx err": 1}
    assert lookup("vmxnet3").lost(counters) == 7


def test_later_and_earlier_drivers_of_one_name() -> None:
    """i40e's rx_dropped was loss until rx_missed_errors came, and is something else since."""
    later = gathered([("rx_missed_errors", 5), ("rx_dropped", 70), ("port.rx_discards", 900)])
    earlier = gathered([("rx_dropped", 70), ("port.rx_dropped", 900)])
    assert lookup("i40e").lost(later) == 905
    assert lookup("i40e").lost(earlier) == 970
    assert lookup("i40e").lost(gathered([("rx_dropped", 70)])) is None


def test_unknown_driver_shows_what_sounds_like_loss() -> None:
    """Its own names, without a word; what it sent and its interrupts are not of interest."""
    names = ["rx_ok", "rx_drop_q1", "tx_dropped", "q0_tx_errors", "rx_out_of_desc", "interrupts"]
    for driver in (lookup("newnic"), lookup(None)):
        assert driver.lost({"rx_missed_errors": 1}) is None
        assert driver.detail(names) == {"rx_drop_q1": "", "rx_out_of_desc": ""}
        assert not driver.asks_ethtool


def test_width_of_a_counter() -> None:
    """As the table says; 64 bits otherwise."""
    assert lookup("r8169").width("rx_missed_errors") == 16
    assert lookup("mlx5_core").width("ethtool:rx_out_of_buffer") == 32
    assert lookup("mlx5_core").width("ethtool:rx_discards_phy") == BITS
    assert lookup(None).width("rx_packets") == BITS


def test_every_device_holds_the_backlog() -> None:
    """The backlog's drops are in rx_dropped, beside what the driver puts there."""
    assert table()["veth"].includes["rx_dropped"] == ["backlog"]
    assert table()["ice"].includes["rx_dropped"] == ["backlog", "ethtool:rx_dropped"]


def test_table_is_installed() -> None:
    """The package takes it along."""
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    assert any(
        fnmatch.fnmatch("daemon/drivers.toml", glob) for glob in setup["package-data"]["capd"]
    )


def test_kernel_uses_the_names_of_the_table() -> None:
    """The virtual devices that this kernel has: their drivers' names, and veth's counters."""
    need_namespaces()
    need("ethtool")
    with apart():
        for words in (
            ["link", "add", "v0", "type", "veth", "peer", "v1"],
            ["link", "add", "b0", "type", "bridge"],
            ["tuntap", "add", "t0", "mode", "tap"],
        ):
            subprocess.run(["ip", *words], check=True)
        for device, name in (("v0", "veth"), ("b0", "bridge"), ("t0", "tun")):
            assert f"driver: {name}" in _ethtool("-i", device).splitlines()
            assert lookup(name).known
        lines = [line.rsplit(":", 1)[0].strip() for line in _ethtool("-S", "v0").splitlines()]
    driver = lookup("veth")
    assert len(driver.detail(lines)) >= len(driver.words)


def _ethtool(*words: str) -> str:
    return subprocess.run(["ethtool", *words], check=True, stdout=subprocess.PIPE, text=True).stdout
