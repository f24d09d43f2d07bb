"""Filters: programs as of a live libpcap, run by the kernel; bad text does no harm."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from capd.errors import FilterError
from capd.filter import MAX_TEXT, Direction, FilterRequest, compile_filters, effective
from capd.ring import attach_filter
from tests.support.need import need

ROOT = Path(__file__).resolve().parent.parent
ETHERNET, RAW, WHOLE = 1, 101, 262144

FILTERS = (
    "",
    "ip",
    "tcp port 80",
    "not (port 22 or port 53)",
    "vlan",
    "vlan 5 and udp port 80",
    "udp port 80 and vlan 5",
    "vlan 5 and vlan 6",
    "pppoes and ip",
    "mpls 100",
    "net 192.168.1.0/24 or ip6 net 2001:db8::/32",
    "host 2001:db8::1",
    "ether host 02:00:00:00:00:01",
    "inbound",
    "outbound and tcp[tcpflags] & tcp-syn != 0",
    "port domain or portrange 8000-8080",
    "ip proto \\sctp",
    "greater 1000 and ether[0] & 1 = 0",
)

# Run by another process, in surroundings of its own: prints what comes of one filter.
COMPILE_ONE = """
import sys
from capd.errors import FilterError
from capd.filter import FilterRequest, compile_filters
try:
    [outcome] = compile_filters([FilterRequest("vlan 5", 1, 96)])
except FilterError as error:
    outcome = error
print(outcome.hex() if isinstance(outcome, bytes) else outcome)
"""


def compiled(
    text: str, direction: Direction = "both", *, link_type: int = ETHERNET, snaplen: int = WHOLE
) -> bytes:
    """The program for one filter."""
    [outcome] = compile_filters([FilterRequest(text, link_type, snaplen, direction)])
    if isinstance(outcome, FilterError):
        raise outcome
    return outcome


def refused(text: str, direction: Direction = "both") -> str:
    """Why this filter is refused."""
    with pytest.raises(FilterError) as caught:
        compiled(text, direction)
    return str(caught.value)


def by_tcpdump(text: str) -> bytes:
    """What tcpdump gives to the kernel on a live Ethernet; where `vlan` is asked for, with -O."""
    need("tcpdump", "unshare", "ip")
    script = f'ip link set lo up && exec tcpdump {"-O" * ("vlan" in text)} -i lo -ddd -- "$1"'
    listing = subprocess.run(
        ["unshare", "-Urn", "sh", "-c", script, "sh", text],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.splitlines()[1:]
    return b"".join(struct.pack("HBBI", *map(int, line.split())) for line in listing)


def kept(program: bytes, frame: bytes) -> int | None:
    """How much of the frame the kernel keeps; None: nothing, the filter does not accept it.

    Any datagram socket runs a filter; on this one every frame counts as an incoming one.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, theirs:
        attach_filter(theirs, program)
        ours.send(frame)
        try:
            return len(theirs.recv(WHOLE, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return None


def elsewhere(*surroundings: str) -> str:
    """What comes of a filter in a process started through these programs."""
    done = subprocess.run(
        [*surroundings, sys.executable, "-c", COMPILE_ONE],
        capture_output=True,
        cwd=ROOT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ip_packet(protocol: int, port: int, size: int = 200) -> bytes:
    """An IPv4 packet with ports."""
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, size, 0, 0, 64, protocol, 0, bytes(4), bytes(4))
    return header + struct.pack("!HH", 40000, port) + bytes(size - 24)


def frame(protocol: int, port: int) -> bytes:
    """The same on Ethernet."""
    return bytes(12) + b"\x08\x00" + ip_packet(protocol, port)


TCP_80, TCP_443, UDP_80 = frame(6, 80), frame(6, 443), frame(17, 80)


@pytest.mark.parametrize("text", FILTERS)
def test_programs_are_those_of_a_live_tcpdump(text: str) -> None:
    """Also where libpcap's code for stored packets would be another one, or none."""
    assert compiled(text) == by_tcpdump(text)


@pytest.mark.parametrize("text", ["", "tcp or udp", "vlan 5 and udp port 80", "not inbound or ip"])
@pytest.mark.parametrize("direction", ["in", "out"])
def test_direction_is_libpcaps_own(text: str, direction: Direction) -> None:
    """The program is that of the text that files record."""
    assert compiled(text, direction) == by_tcpdump(effective(text, direction))


def test_effective_text() -> None:
    """What files record."""
    assert effective("", "both") == ""
    assert effective(" ip\n", "both") == "ip"
    assert effective("", "in") == "inbound"
    assert effective("tcp or udp", "out") == "outbound and (tcp or udp)"


def test_kernel_runs_the_program() -> None:
    """Accepted, refused, cut."""
    program = compiled("tcp port 80", snaplen=96)
    assert kept(program, TCP_80) == 96
    assert kept(program, TCP_80[:60]) == 60
    assert kept(program, TCP_443) is None
    assert kept(program, UDP_80) is None


def test_direction_binds_the_whole_filter() -> None:
    """An `or` in the text does not let outgoing packets in."""
    assert kept(compiled("tcp or udp", "in"), UDP_80) == len(UDP_80)
    assert kept(compiled("tcp or udp", "out"), UDP_80) is None
    assert kept(compiled("", "in"), UDP_80) == len(UDP_80)
    assert kept(compiled("", "out"), UDP_80) is None


@pytest.mark.parametrize("snaplen", [1, 14, 65535, WHOLE])
def test_empty_filter_returns_the_snaplen(snaplen: int) -> None:
    """And is nothing else."""
    program = struct.pack("HBBI", 6, 0, 0, snaplen)
    assert compiled("", snaplen=snaplen) == program
    assert compiled(" \n", snaplen=snaplen) == program


def test_link_without_ethernet() -> None:
    """A tunnel's packets begin with the IP header."""
    program = compiled("tcp port 80", link_type=RAW, snaplen=64)
    assert kept(program, ip_packet(6, 80)) == 64
    assert kept(program, ip_packet(6, 81)) is None
    assert kept(compiled("tcp", "in", link_type=RAW), ip_packet(6, 80)) == 200
    assert kept(compiled("tcp", "out", link_type=RAW), ip_packet(6, 80)) is None
    with pytest.raises(FilterError, match="no VLAN support"):
        compiled("vlan 5", link_type=RAW)
    with pytest.raises(FilterError, match="unknown data link type"):
        compiled("ip", link_type=65000)


@pytest.mark.parametrize(
    "text",
    [
        "host localhost",
        "src host ip6-localhost",
        "net loopback",
        "ether host router",
        "tcp and (port 80 or host example.com)",
    ],
)
def test_host_names_are_refused(text: str) -> None:
    """Also those that /etc/hosts and /etc/networks know."""
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    assert "addresses only" in refused(text)


@pytest.mark.fault(47)
@pytest.mark.parametrize(
    ("text", "direction", "reason"),
    [
        ("tcp port", "both", "syntax error"),
        ("-z id", "both", "syntax error"),
        ("-w /tmp/x ip", "both", "syntax error"),
        ("$(id); ip", "both", "syntax error"),
        ("ip) or (udp", "in", "syntax error"),
        ("ip) or (udp", "both", "syntax error"),
        (") or (", "out", "syntax error"),
        ("ip \\", "in", "syntax error"),
        ("tcp and udp", "both", "match nothing"),
        ("outbound", "in", "match nothing"),
        ("ip\0 or udp", "both", "no place in a filter"),
        ("port “80”", "both", "no place in a filter"),
        ("ip\u00a0host 10.0.0.1", "both", "no place in a filter"),
        ("\udcff", "both", "no place in a filter"),
        ("\x1b[2J", "both", "no place in a filter"),
        ("ip or " * 11000 + "ip", "both", "make it shorter"),
        ("x" * MAX_TEXT, "both", "too long"),
        ("(" * 10000 + "ip" + ")" * 10000, "both", "nested too deeply"),
        ("(" * 10000, "both", "nested too deeply"),
        ("+".join(f"ether[{i}]" for i in range(1200)) + " = 1", "both", "the kernel takes 4096"),
        ("ip broadcast", "both", "netmask"),
        ("ether[-1] = 0", "in", "the kernel refuses"),
    ],
)
@pytest.mark.security("filters")
def test_hostile_text(text: str, direction: Direction, reason: str) -> None:
    """Each is an error of one line that says why, and can be printed."""
    message = refused(text, direction)
    assert reason in message
    assert message.startswith("cannot use the filter ")
    assert message.isprintable()
    assert len(message) < 400


def test_one_request_does_not_harm_the_others() -> None:
    """Answers keep the order, whatever is among them, and one is worked out once."""
    good, bad, name = (FilterRequest(text, ETHERNET, 96) for text in ("ip", "ip and", "host a"))
    raw = FilterRequest("ip", RAW, 96)
    outcomes = compile_filters([bad, raw, good, name, good])
    assert [isinstance(outcome, bytes) for outcome in outcomes] == [False, True, True, False, True]
    assert outcomes[2] == outcomes[4] == compiled("ip", snaplen=96)
    assert outcomes[1] != outcomes[2]
    assert compile_filters([]) == []


@pytest.mark.security("filters")
@pytest.mark.fault(47)
def test_endless_compilation_ends() -> None:
    """libpcap's optimizer takes minutes for this; the requests beside it are answered."""
    text = " or ".join(f"host 10.{i // 250}.{i % 250}.1" for i in range(1500))
    good = FilterRequest("ip", ETHERNET, 96)
    before, endless, after = compile_filters([good, FilterRequest(text, ETHERNET, 96), good])
    assert isinstance(endless, FilterError)
    assert "libpcap did not finish" in str(endless)
    assert before == after == compiled("ip", snaplen=96)


def test_hundreds_of_addresses_are_fine() -> None:
    """What people do write."""
    text = " or ".join(f"host 10.0.{i}.1" for i in range(200))
    assert kept(compiled(text), TCP_80) is None


def test_without_user_namespaces() -> None:
    """As under systemd's RestrictNamespaces=: `lo` as it is, if CAP_NET_RAW is there."""
    need("unshare", "ip")
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    expected = compiled("vlan 5", snaplen=96).hex()
    script = ("sh", "-c", f'{forbid[:-9]} ip link set lo up && exec "$@"', "sh")
    assert elsewhere("unshare", "-Urn", *script) == expected
    message = elsewhere("unshare", "-Ur", "sh", "-c", forbid, "sh")
    assert message.startswith("cannot compile filters: libpcap can open lo neither in a network")
    assert "grant CAP_NET_RAW" in message
    assert elsewhere("unshare", "-Urn", "sh", "-c", forbid, "sh").endswith("ip link set lo up")


@pytest.mark.fault(47)
def test_without_privilege() -> None:
    """Nobody needs a right to check a config; a clone in /root must only be readable."""
    need("setpriv")
    dropped = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs")
    kept_rights = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search")
    assert elsewhere(*dropped, *kept_rights) == compiled("vlan 5", snaplen=96).hex()


def test_without_libpcap() -> None:
    """The error names the package."""
    need("unshare", "mount")
    hide = 'for f in /usr/lib/*/libpcap.so*; do mount --bind /dev/null "$f"; done; exec "$@"'
    message = elsewhere("unshare", "-Urm", "sh", "-c", hide, "sh")
    assert message.startswith("cannot compile filters: libpcap is not installed")
    assert "libpcap0.8" in message


def test_compiler_leaves_the_namespaces_of_others_alone() -> None:
    """What compiles is a process of its own, and it is gone afterwards."""
    namespaces = [os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "user")]
    compiled("vlan 5")
    assert [os.readlink(f"/proc/self/ns/{kind}") for kind in ("net", "user")] == namespaces


def test_compiler_starts_quickly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reload waits for it: it imports nothing of capd, no `site`, and little else."""
    python, told = tmp_path / "python", tmp_path / "told"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -X importtime "$@" 2>{told}\n')
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    compiled("udp port 4711")  # that nobody has asked for before
    imported = [line.split()[-1] for line in told.read_text().splitlines()]
    assert {"ctypes", "json"} <= {*imported}
    assert not {"capd", "site", "asyncio", "logging"} & {*imported}
    assert len(imported) < 100
