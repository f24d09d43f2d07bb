"""`capd tune`: applied and restored value for value, on what a machine without hardware has."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd.tuning.record import FILE
from tests.support.command import AS_NOBODY
from tests.support.need import need, need_namespaces
from tests.support.net import Namespace
from tests.support.recorder import CAPD
from tests.support.tuned import changes, furnish, nic_settings, settings, tune

BOTH = '[[interface]]\nname = "v0"\n[[interface]]\nname = "tap0"\n'
ALL = f"""
[tuning]
ring = "max"
coalesce = {{ rx_usecs = 50, rx_frames = 16 }}
channels = {{ rx = 99 }}
offloads = {{ gro = false, lro = false, tso = false, tx-nocache-copy = true, warp = true }}
[tuning.sysctl]
"net.ipv4.tcp_rmem" = "4096\\t131072 6291455"
"net.ipv4.conf.v0.rp_filter" = 2
"net/core/somaxconn" = 77
"net.core.rmem_max" = 123456
"net.core.nothing" = 1
{BOTH}[[interface]]
name = "v9"
"""
CHANNELS = f"[tuning]\nchannels = {{ rx = 2 }}\n{BOTH}"
COALESCE = '[[interface]]\nname = "tap0"\n[interface.tuning]\ncoalesce = { rx_frames = 16 }\n'


@pytest.fixture
def net() -> Iterator[Namespace]:
    need_namespaces()
    need("ethtool")
    with Namespace() as namespace:
        furnish(namespace)
        namespace.run(["ethtool", "-L", "v0", "rx", "1"])
        yield namespace


class Desk:
    """A config, a directory for what was, and the words in between."""

    def __init__(self, net: Namespace, folder: Path) -> None:
        self._net = net
        self._config = folder / "capd.toml"
        self.state = folder / "state"

    def apply(self, text: str, code: int = 0) -> str:
        """All that is said."""
        return self._run("apply", text, code)

    def show(self, text: str, code: int = 0) -> str:
        return self._run("show", text, code)

    def restore(self, code: int = 0) -> str:
        ended, out, err = tune(self._net, self.state, "restore")
        assert ended == code, out + err
        return out + err

    def remembered(self) -> dict[str, object]:
        """The old values on the disk."""
        values = json.loads((self.state / FILE).read_text())["values"]
        return {f"{one['name']} {one['kind']} {one['key']}": one["old"] for one in values}

    def alter(self, **fields: object) -> None:
        """Change the record's head."""
        path = self.state / FILE
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))

    def _run(self, word: str, text: str, code: int) -> str:
        self._config.write_text(text)
        ended, out, err = tune(self._net, self.state, word, "--config", str(self._config))
        assert ended == code, out + err
        return out + err


@pytest.fixture
def desk(net: Namespace, tmp_path: Path) -> Desk:
    return Desk(net, tmp_path)


def test_applied_and_restored_value_for_value(net: Namespace, desk: Desk) -> None:
    """What can be set is, what cannot is told, and twice applied is once restored."""
    before = settings(net)
    said = desk.apply(ALL, 3)
    changed = changes(before, settings(net))
    segmentation = {f"v0 offloads tx-tcp{kind}-segmentation": 0 for kind in ("", "6", "-ecn")}
    assert changed.items() >= segmentation.items()
    rest = {key: value for key, value in changed.items() if "segmentation" not in key}
    assert rest == {
        "net.ipv4.tcp_rmem": "4096 131072 6291455",
        "net.ipv4.conf.v0.rp_filter": "2",
        "net.core.somaxconn": "77",
        "v0 channels rx": 4,
        "v0 offloads tx-nocache-copy": 1,
        "tap0 coalesce rx_frames": 16,
        "tap0 offloads rx-gro": 0,
        "tap0 offloads tx-nocache-copy": 1,
    }
    for line in (
        "v0 channels rx: 99 is more than its driver's most, 4",
        "v0 channels rx: 1 -> 4; many drivers reset the link for that",
        "incomplete: cannot set v0 ring rx: its driver has no such setting, or does not",
        "incomplete: cannot set tap0 coalesce rx_usecs: its driver has no such setting, or",
        "incomplete: cannot set tap0 channels rx: its driver has no such setting",
        "incomplete: cannot set v0 offloads warp: the kernel has no such feature",
        "incomplete: cannot set net.core.rmem_max: Permission denied",
        "incomplete: cannot set net.core.nothing: this kernel, or this network namespace, has no",
        'incomplete: "v9" means no interface now: apply again when it does',
    ):
        assert line in said
    remembered = desk.remembered()
    assert " -> " not in desk.apply(ALL, 3)
    assert desk.remembered() == remembered
    desk.restore()
    assert settings(net) == before
    assert desk.remembered() == {}
    assert desk.restore() == "nothing to change\n"


def test_what_is_no_longer_asked_for_goes_back(net: Namespace, desk: Desk) -> None:
    """And the first value of what is asked for otherwise stays known."""
    before = settings(net)
    desk.apply(f"[tuning]\nsysctl = {{ 'net.core.somaxconn' = 77 }}\n{COALESCE}")
    desk.apply(COALESCE.replace("16", "32"))
    assert changes(before, settings(net)) == {"tap0 coalesce rx_frames": 32}
    assert desk.remembered() == {"tap0 coalesce rx_frames": 0}
    desk.apply(BOTH)
    assert settings(net) == before


def test_what_somebody_set_since_stays(net: Namespace, desk: Desk) -> None:
    desk.apply(COALESCE)
    net.run(["ethtool", "-C", "tap0", "rx-frames", "5"])
    assert "tap0 coalesce rx_frames: is 5, which capd has not set: it stays" in desk.restore()
    assert settings(net)["tap0 coalesce rx_frames"] == 5
    assert desk.remembered() == {}


def test_an_interface_is_known_by_its_number(net: Namespace, desk: Desk) -> None:
    """Under another name it gets its values back; another one under its name gets none."""
    desk.apply(
        """
        [tuning]
        sysctl = { "net.ipv4.conf.v0.rp_filter" = 2 }
        [[interface]]
        name = "v0"
        tuning = { channels = { rx = 2 } }
        [[interface]]
        name = "tap0"
        tuning = { coalesce = { rx_frames = 16 } }
        """
    )
    net.set_link("v0", "down")
    net.set_link("v0", "name", "w0")
    net.delete_link("tap0")
    net.run(["ip", "tuntap", "add", "tap0", "mode", "tap"])
    net.run(["ethtool", "-C", "tap0", "rx-frames", "16"])
    said = desk.restore()
    assert "tap0 coalesce rx_frames: is gone, and what it was with it" in said
    assert "net.ipv4.conf.v0.rp_filter: is gone, and what it was with it" in said
    assert "w0 channels rx: 2 -> 1" in said
    assert nic_settings(net, "tap0")["tap0 coalesce rx_frames"] == 16
    assert desk.restore() == "nothing to change\n"


def test_a_boot_makes_old_values_void(net: Namespace, desk: Desk) -> None:
    desk.apply(COALESCE)
    desk.alter(boot="another")
    assert (
        desk.restore()
        == "1 old values are of another boot: nothing to put back\nnothing to change\n"
    )
    assert settings(net)["tap0 coalesce rx_frames"] == 16
    assert desk.remembered() == {}


def test_a_record_that_cannot_be_used_is_left_alone(net: Namespace, desk: Desk) -> None:
    """Another network namespace's, or one that is no record: nothing is changed."""
    desk.apply(COALESCE)
    now = settings(net)
    desk.alter(namespace=1)
    kept = (desk.state / FILE).read_text()
    for word in (desk.restore(1), desk.apply(CHANNELS, 1)):
        assert "they are another network namespace's; run this there" in word
    for text in ("", "{}", '{"format": 2}', kept.replace("coalesce", "cheese")):
        (desk.state / FILE).write_text(text)
        assert f"cannot use the old values in {desk.state}/{FILE}: " in desk.restore(1)
        assert (desk.state / FILE).read_text() == text
    assert settings(net) == now


@pytest.mark.parametrize("over", ["v0", "br0"])
def test_the_link_of_the_default_route_is_not_reset(net: Namespace, desk: Desk, over: str) -> None:
    """Nor one below it, unless that is allowed; what resets nothing is set."""
    if over != "v0":
        net.run(["ip", "link", "add", over, "type", "bridge"])
        net.set_link("v0", "master", over)
        net.set_link(over, "up")
    net.run(["ip", "route", "add", "default", "dev", over])
    text = "[tuning]\nchannels = { rx = 2 }\noffloads = { gro = true }\n"
    v0 = '[[interface]]\nname = "v0"\n'
    said = desk.apply(text + v0, 3)
    assert "cannot set v0 channels rx: that may take down the link of the default route" in said
    assert "default_route = true below [tuning] allows it" in said
    assert settings(net)["v0 channels rx"] == 1
    assert settings(net)["v0 offloads rx-gro"] == 1
    assert "v0 channels rx: 1 -> 2" in desk.apply(f"{text}default_route = true\n{v0}")
    assert "cannot restore v0 channels rx: that may take" in desk.apply(v0, 3)
    assert desk.remembered() == {"v0 channels rx": 1}
    assert "v0 channels rx: 2 -> 1" in desk.restore()


def test_show(net: Namespace, desk: Desk) -> None:
    """For everybody: as it is, as it is asked for, as it was, and what it does."""
    desk.apply(ALL, 3)
    config = desk.state.parent / "capd.toml"
    argv = [*AS_NOBODY, "env", f"STATE_DIRECTORY={desk.state}", str(CAPD), "tune"]
    shown = net.run([*argv, "show", "--config", str(config)], check=False)
    assert shown.returncode == 3
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    for line, *effect in (
        ("net.ipv4.conf.v0.rp_filter 2 (asked for: 2; before capd: 0)",),
        ("v0 channels rx 4 (of at most 4; asked for: 99; before capd: 1)", "queues, and so"),
        ("tap0 coalesce rx_frames 16 (asked for: 16; before capd: 0)", "fewer interrupts cost"),
        ("tap0 offloads rx-gro off (asked for: off; before capd: on)",),
        ("tap0 offloads rx-lro off (asked for: off)", "packets come as they were on the wire"),
        ("tap0 offloads warp cannot be set: its driver has no such setting",),
    ):
        assert line in lines
        assert all(text in lines[lines.index(line) + 1] for text in effect)
    assert any(
        line.startswith("net.core.rmem_max") and "mapped memory" in lines[number + 1]
        for number, line in enumerate(lines)
    )
    refused = net.run([*argv, "restore"], check=False)
    assert refused.returncode == 1
    assert "cannot keep the old values in " in refused.stderr
