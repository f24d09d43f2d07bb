"""What becomes of a tcpdump or dumpcap line: the seed's own lines first, then option by option."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from capd.convert.conversion import convert
from capd.errors import UsageError
from tests.support.conversions import converted

MIB = 2**20


def tcpdump(line: str) -> tuple[str, ...]:
    """A line that is complete but for what is given."""
    return ("tcpdump", "-i", "eth0", "-w", "/data/x", *shlex.split(line))


def dumpcap(line: str) -> tuple[str, ...]:
    return ("dumpcap", "-i", "eth0", "-w", "/data/x", *shlex.split(line))


def test_seed_first_line() -> None:
    """`-B 4096000` "4 MB per interface", `-W` beside `-G`, `-i any`, a relative `-z`."""
    line = converted(
        *("tcpdump", "-n", "-C", "1000", "-W", "10000", "-z", "./compress.sh", "-i", "any"),
        *("-G", "3600", "-w", "/data/cap_%Y%m%d_%H%M%S.pcap", "-B", "4096000", "-s", "96"),
        "(net 192.168.1.0/24 or net 10.0.0.0/8)",
    )
    assert line.names == ["*"]
    assert line.keys() == {
        "snaplen": 96,
        "rotate_size": 10**9,
        "filter": "(net 192.168.1.0/24 or net 10.0.0.0/8)",
        "promiscuous": False,
    }
    storage = line.config.storage.model_dump(exclude_unset=True)
    assert storage == {"directory": "/data/capd"}
    assert line.config.compression.enabled
    assert "3.906 GiB" in line.said("surprise", "-B 4096000")
    assert "does not start" in line.said("surprise", "-B 4096000")
    assert "limits nothing" in line.said("surprise", "-W 10000")
    assert 'max_size = "10TB"' in line.said("surprise", "-W 10000")
    assert "1GB (953.7 MiB)" in line.said("surprise", "-C 1000")
    assert "summer time" in line.said("surprise", "-w /data/cap_%Y%m%d_%H%M%S.pcap")
    assert "cooked" in line.said("surprise", "-i any")
    assert "no interface is promiscuous" in line.said("surprise", "-i any")
    assert "96 bytes" in line.said("surprise", "-s 96")
    assert "where the line was typed" in line.said("surprise", "-z ./compress.sh")
    assert "printing" in line.said("idle", "-n")


def test_seed_dumpcap_line() -> None:
    """The filter holds for the last interface only, and the files are of 1 MB."""
    line = converted(
        *("dumpcap", "-i", "eth0", "-i", "eth1", "-b", "filesize:1000", "-b", "files:10000"),
        *("-w", "/data/capture.pcap", "-f", "not port 22"),
    )
    assert line.names == ["eth0", "eth1"]
    assert line.keys() == {"rotate_size": 8 * MIB}
    assert line.keys("eth0") == {}
    assert line.keys("eth1") == {"filter": "not port 22"}
    assert line.config.storage.max_size == 10**10
    assert '"eth0" without' in line.said("surprise", "-f not port 22")
    assert "1MB (976.6 KiB)" in line.said("surprise", "-b filesize:1000")
    assert "10GB (9.313 GiB) in all" in line.said("surprise", "-b files:10000")


def test_seed_two_interfaces_in_one_name() -> None:
    line = converted(
        *("tcpdump", "-n", "-C", "1000", "-W", "10000", "-s", "0", "-B", "4096"),
        *("-z", "/opt/scripts/compress_and_archive.sh", "-i", "ethX or ethY"),
        *("-w", "/data/capture_%Y%m%d_%H%M%S.pcap", "not (port 22 or port 53)"),
    )
    assert line.names == ["ethX", "ethY"]
    assert line.keys() == {
        "rotate_size": 10**9,
        "filter": "not (port 22 or port 53)",
    }
    assert line.config.storage.max_size == 10**13
    assert "10TB (9.095 TiB)" in line.said("surprise", "-W 10000")
    assert "the % stays" in line.said("surprise", "-w /data/capture_%Y%m%d_%H%M%S.pcap")
    assert 'read as "ethX" and "ethY"' in line.said("surprise", "-i ethX or ethY")


def test_seed_parallel_line() -> None:
    line = converted(
        *("parallel", "-j2"),
        "tcpdump -ni {} -s0 -C1000 -z /opt/scripts/compress.sh \\\n"
        '-w /data/capture_{}_%F.pcap \\\n"not net 192.168.0.0/16"',
        *(":::", "ethX", "ethY"),
    )
    assert line.names == ["ethX", "ethY"]
    assert line.keys() == {"rotate_size": 10**9, "filter": "not net 192.168.0.0/16"}
    assert line.config.storage.directory == "/data/capd"


@pytest.mark.parametrize(
    ("option", "keys", "kind", "text"),
    [
        ("-B 4096", {}, "surprise", "counts in KiB: this is 4 MiB"),
        ("-B 4096", {}, "otherwise", "at 10 Gb/s full after 3 ms; left to capd"),
        ("-B 4096", {}, "otherwise", 'if you mean it: ring_size = "4MiB"'),
        ("-B 65536", {"ring_size": 64 * MIB}, "otherwise", "full after 53 ms"),
        ("-B 65532", {}, "otherwise", 'if you mean it: ring_size = "65532KiB"'),
        ("-B 1024", {}, "otherwise", "1 MiB for each interface"),
        ("-B 4M", {}, "surprise", '"M" behind the number is ignored: it is 4'),
        ("-B 6000000", {}, "surprise", "becomes 1.722 GiB without a word"),
        ("-B 4096000", {}, "surprise", "tcpdump does not start"),
        ("-s 0x60", {"snaplen": 96}, "surprise", "96 bytes of each"),
        ("-s 0140", {"snaplen": 96}, "surprise", "96 bytes of each"),
        ("-s 0", {}, "idle", "all of each packet"),
        ("-s 262144", {}, "idle", "all of each packet"),
        ("-c 5k", {}, "surprise", '"k" behind the number is ignored: it is 5'),
        ("-c 5", {}, "otherwise", "capd records on and on"),
        ("-Q IN", {"direction": "in"}, "otherwise", ""),
        ("-j host", {}, "idle", "kernel's stamps"),
        ("-j adapter", {}, "otherwise", "capd's stamps are the kernel's"),
        ("-y EN10MB", {}, "otherwise", "the link type that the interface has"),
        ("-Z root", {}, "otherwise", "the second file is where that fails"),
        ("-U", {}, "otherwise", "flush_interval"),
        ("--immediate-mode", {}, "otherwise", "flush_interval"),
        ("-I", {}, "otherwise", "monitor mode"),
        ("--print", {}, "otherwise", "capd extract --follow"),
        ("-K", {}, "idle", "printing"),
        ("--nano", {}, "idle", "nanoseconds"),
        ("-z /usr/bin/notify", {}, "otherwise", "[hook] segment_closed runs a program"),
        ("-z /usr/bin/notify", {}, "surprise", "without -C or -G it runs nothing"),
    ],
)
def test_tcpdump_options(option: str, keys: dict[str, object], kind: str, text: str) -> None:
    line = converted(*tcpdump(option))
    assert line.keys() == keys
    assert text in line.said(kind, option)
    assert not line.config.compression.enabled


def test_a_program_with_arguments() -> None:
    """tcpdump looks for one of that name; what was meant is plain."""
    line = converted("tcpdump", "-i", "eth0", "-C", "100", "-w", "/data/x", "-z", "gzip -9")
    said = line.said("surprise", "-z gzip -9")
    assert 'there is none called "gzip -9", and nothing is run' in said
    assert "without -C or -G" not in said
    assert line.config.compression.enabled


def test_not_promiscuous() -> None:
    assert converted(*tcpdump("-p")).keys() == {"promiscuous": False}


@pytest.mark.parametrize(
    ("options", "size", "interval", "most", "note"),
    [
        ("-C 100", 10**8, "1h", None, ("tcpdump", "files pile up until the disk is full")),
        ("-C 100 -W 5", 10**8, "1h", 5 * 10**8, ("-W 5", "5 files of 100MB (95.37 MiB)")),
        ("-C 100m", 100 * MIB, "1h", None, ("-C 100m", "before 5.0 takes no unit")),
        ("-C 1", 8 * MIB, "1h", None, ("-C 1", "1MB (976.6 KiB)")),
        ("-G 60", 2**30, "1min", None, ("-G 60", "on a quiet link")),
        ("-G 60 -W 5", 2**30, "1min", None, ("-W 5", "tcpdump ends after 5 files, 5 min")),
        ("-G 60 -W 5", 2**30, "1min", None, ("-W 5", 'max_age = "5min"')),
        ("-G 1h", 2**30, "1s", None, ("-G 1h", '"h" is ignored: a new file every 1 s')),
        ("-G 0", 2**30, "1h", None, ("-G 0", "no rotation by time")),
        ("-G 60 -C 100 -W 5", 10**8, "1min", None, ("-W 5", 'max_size = "500MB"')),
        ("-W 5", 2**30, "1h", None, ("-W 5", "without -C or -G it does nothing")),
        ("-C 100 -W 5x", 10**8, "1h", 5 * 10**8, ("-W 5x", "is ignored: it is 5")),
        ("-G 60", 2**30, "1min", None, ("-w /data/x", "no time in the name")),
        ("-C 100", 10**8, "1h", None, ("-w /data/x", "overwrites what is there")),
        ("-C 100", 10**8, "1h", None, ("tcpdump", "becomes the user tcpdump")),
    ],
)
def test_tcpdump_rotation(
    options: str, size: int, interval: str, most: int | None, note: tuple[str, str]
) -> None:
    line = converted(*tcpdump(options))
    periods = {"1h": 3600, "1min": 60, "1s": 1}
    assert line.config.capture.rotate_size == size
    assert line.config.capture.rotate_interval == periods[interval] * 10**9
    assert line.config.storage.max_size == most
    about, text = note
    assert text in line.said("surprise", about)


@pytest.mark.parametrize(
    ("path", "directory"),
    [
        ("/data/x.pcap", "/data/capd"),
        ("/data/%Y/%m/x.pcap", "/data/capd"),
        ("/x.pcap", "/capd"),
        ("//data/../srv//x", "/srv/capd"),
        ("x.pcap", "/var/lib/capd"),
        ("-", "/var/lib/capd"),
        ("/dev/null", "/var/lib/capd"),
    ],
)
def test_directory(path: str, directory: str) -> None:
    line = converted("tcpdump", "-i", "eth0", "-G", "1", "-w", path)
    assert line.config.storage.directory == directory
    assert any(note.about == f"-w {path}" for note in line.conversion.notes)


def test_without_a_file_or_an_interface() -> None:
    line = converted("tcpdump", "tcp", "port", "80")
    assert line.names == ["@default"]
    assert line.keys() == {"filter": "tcp port 80"}
    assert "printed and not kept" in line.said("surprise", "tcpdump")
    assert "the first interface that is up" in line.said("surprise", "tcpdump")
    assert "only the first has ports" in line.said("surprise", "the expression")


def test_filter_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "filter"
    path.write_text("# web\nport 80 # plain\n  or port 443\n")
    line = converted(*tcpdump(f"-F {path} udp"))
    assert line.keys() == {"filter": "port 80 or port 443"}
    assert "ignored beside -F" in line.said("surprise", "udp")
    with pytest.raises(UsageError, match="cannot be read"):
        convert(tcpdump(f"-F {tmp_path}/none"))


@pytest.mark.parametrize(
    ("options", "keys", "about", "text"),
    [
        ("-B 64", {"ring_size": 64 * MIB}, "-B 64", "counts in MiB (tcpdump's in KiB)"),
        ("-B 4096", {}, "-B 4096", "becomes 2 MiB without a word"),
        ("-B 2049", {}, "-B 2049", "becomes 2 MiB without a word"),
        ("'port 80'", {}, "port 80", "a filter goes behind -f"),
        ("-f ip -f udp", {"filter": "udp"}, "-w /data/x", "overwrites what is there"),
        ("-s 96", {"snaplen": 96}, "-s 96", "96 bytes"),
        ("-b size:1", {}, "-b size:1", 'no criterion is called "size"'),
        ("-b files:3", {}, "-b files:3", "nothing rotates"),
        ("-b filesize:100000", {"rotate_size": 10**8}, "-b", "the disk fills up"),
    ],
)
def test_dumpcap_options(options: str, keys: dict[str, object], about: str, text: str) -> None:
    line = converted(*dumpcap(options))
    assert line.keys() == keys
    assert text in line.said("surprise", about)


@pytest.mark.parametrize(
    ("options", "keys", "kept"),
    [
        ("-b duration:60", {"rotate_interval": 60 * 10**9}, {}),
        ("-b duration:0.5", {"rotate_interval": 10**9}, {}),
        ("-b interval:3600 -b files:24", {}, {"max_age": 24 * 3600 * 10**9}),
        (
            "-b duration:60 -b filesize:20000 -b files:10",
            {"rotate_interval": 60 * 10**9, "rotate_size": 2 * 10**7},
            {"max_size": 2 * 10**8, "max_age": 600 * 10**9},
        ),
        ("-b filesize:20000 -b files:200000", {"rotate_size": 2 * 10**7}, {"max_size": 2 * 10**12}),
        ("-a filesize:20000 -b files:10", {"rotate_size": 2 * 10**7}, {"max_size": 2 * 10**8}),
        ("-a filesize:20000", {}, {}),
        ("-a duration:60 -c 9 -a packets:3 -a files:2 -P -g -C 9 -N 9 -t -q", {}, {}),
    ],
)
def test_dumpcap_rotation(options: str, keys: dict[str, object], kept: dict[str, object]) -> None:
    line = converted(*dumpcap(options))
    assert line.keys() == keys
    storage = line.config.storage.model_dump(exclude_unset=True, exclude={"directory"})
    assert storage == kept


@pytest.mark.parametrize(
    ("options", "about", "text"),
    [
        ("-b filesize:9000 -a filesize:20000", "-b filesize:9000", "the last filesize: counts"),
        ("-b filesize:20000", "-b filesize:20000", "kB of 1000 bytes: this is 20MB (19.07 MiB)"),
        ("-b duration:9 -b interval:20", "-b interval:20", "-b duration:9 ends each file before"),
        ("-b filesize:20000", "-w /data/x", "names is local"),
        ("-b filesize:20000 -w /data/y", "-w /data/x", "only the last -w counts"),
        ("-b filesize:20000 -w -", "-b filesize:20000", "without a file of -w, -b is off"),
        ("-i eth1 -P", "-P", "ignored with several interfaces"),
    ],
)
def test_dumpcap_files(options: str, about: str, text: str) -> None:
    assert text in converted(*dumpcap(options)).said("surprise", about)


def test_dumpcap_any_beside_another() -> None:
    """It alone is not promiscuous, and no option says so."""
    line = converted("dumpcap", "-i", "eth0", "-i", "any", "-w", "/d/x")
    assert line.keys("*") == {"promiscuous": False}
    assert line.keys("eth0") == {}


def test_dumpcap_options_by_their_place() -> None:
    """Before the first -i they hold for all, behind one for that one."""
    line = converted("dumpcap -f tcp -s 200 -i eth0 -p -i eth1 -f udp -i eth2 -w /data/x")
    assert line.keys() == {"snaplen": 200}
    assert line.keys("eth0") == {"filter": "tcp", "promiscuous": False}
    assert line.keys("eth1") == {"filter": "udp"}
    assert line.keys("eth2") == {"filter": "tcp"}
    assert "for that interface only" in line.said("surprise", "-p")
    line = converted("dumpcap -i eth0 -s 96 -i eth1 --snap=96")
    assert line.keys() == {"snaplen": 96}
    assert "only" not in line.said("surprise", "--snap=96")
