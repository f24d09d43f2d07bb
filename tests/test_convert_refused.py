"""Lines that `capd convert` refuses, and by which name."""

from __future__ import annotations

import pytest

from capd.convert.conversion import convert
from capd.errors import UsageError


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("pfcount -i eth0 -i eth1 -c 1 -h ./compress.sh", "counts packets and records none"),
        ("sudo ethtool -G ethX rx 4096 tx 4096", r"\[tuning\]"),
        ("echo 4194304 | sudo tee /proc/sys/net/core/rmem_max", r"\[tuning\]"),
        ("find /archive -type f -mtime +30 -delete", "max_age"),
        ('mail -s "Packet Drop Alert" admin@example.com', r"\[alert\] command"),
        ('xz -T0 -9 "$1" -c > "$TARGET/$(basename "$1").xz"', "what the shell puts in place"),
        ("git clone https://github.com/ntop/PF_RING.git", "neither tcpdump nor dumpcap"),
    ],
)
def test_the_rest_of_the_seed(line: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        convert([line])


@pytest.mark.parametrize(
    ("line", "replaced"),
    [
        ("tcpdump -i eth{0,1} -w /d/x", "{"),
        ("tcpdump -i eth{0,'1'} -w /d/x", "{"),
        ("tcpdump -i eth{0..3} -w /d/x", "{"),
        ("tcpdump -i eth0 -w ~/x.pcap", "~"),
        ("tcpdump -i eth0 -w - > ~root/x.pcap", "~"),
        ("sh -c 'tcpdump -i eth0 -w ~/x.pcap'", "~"),
        ("tcpdump -i eth0 -w /d/*/x.pcap", "*"),
        ("tcpdump -i eth0 -w /d/ip[0]/x.pcap", "["),
        ("tcpdump -i eth0 -w /d?/x.pcap", "?"),
        ("tcpdump -i eth0 -w data[0]*", "*"),
        ("tcpdump -i eth0 -w $DIR/x", "$"),
    ],
)
def test_what_a_shell_would_expand(line: str, replaced: str) -> None:
    """In a whole line it stands for words that nobody knows here."""
    with pytest.raises(UsageError) as error:
        convert([line])
    assert f"what the shell puts in place of {replaced} is not known here" in str(error.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("0 * * * * root tcpdump -i eth0 -w /d/x", "a line for cron"),
        ("*/5 0-6 1,15 * mon tcpdump -i eth0 -w /d/x", "a line for cron"),
        ("@reboot root /usr/sbin/tcpdump -i eth0 -w /d/x", "a line for cron"),
        ("\n[Service]\nExecStart=/usr/bin/dumpcap -i eth0 -w /d/x", "give its line that begins"),
    ],
)
def test_files_that_start_commands(line: str, reason: str) -> None:
    """They are no lines of a shell: the advice to leave the quotes away would be wrong."""
    with pytest.raises(UsageError, match=reason):
        convert([line])


@pytest.mark.parametrize(
    "line",
    [
        "tcpdump -i eth0 -w '/d/{a,b}~*?[0]/x'",
        'tcpdump -i eth0 -w "/d/{a,b}~*?[0]/x"',
        r"tcpdump -i eth0 -w /d/\{a,b\}~\*\?\[0]/x",
    ],
)
def test_what_is_quoted_is_not_expanded(line: str) -> None:
    assert "/d/{a,b}~*?[0]/capd" in convert([line]).toml


def test_fields_of_a_filter_need_no_quotes() -> None:
    """No file is called so, and then a shell leaves them as they are."""
    made = convert(["tcpdump -i eth0 -w /d/x ip[0]=0x45 or tcp[tcpflags]==tcp[2:2]"])
    assert 'filter = "ip[0]=0x45 or tcp[tcpflags]==tcp[2:2]"' in made.toml


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("ssh host tcpdump -i eth0", "runs where this machine's capd does not"),
        ("ip netns exec blue tcpdump -i eth0", "runs where this machine's capd does not"),
        ("tshark -i eth0 -w x", "by way of dumpcap"),
        ("xargs -n1 tcpdump -i", "the line of each interface by itself"),
        ("sudo", "sudo: no program stands behind it"),
        ("sudo -Q tcpdump", 'sudo has no option "-Q"'),
        ("timeout 5", "no program stands behind it"),
        ("taskset -c x tcpdump", '"x" names no processors'),
        ("numactl -C 1-x tcpdump", 'numactl: "1-x" names no processors'),
        ("screen -r", "screen: no program stands behind it"),
        ("tmux attach", "tmux: give the line that runs in it"),
        ("tmux new -d", "tmux: no program stands behind it"),
        ("su - root", "su: without -c no program stands behind it"),
        ("bash script.sh", "a script is not read here"),
        ("parallel tcpdump -i {}", "only one ::: is understood"),
        ("parallel tcpdump -i {.} ::: eth0", "{.} is not understood"),
        ("parallel tcpdump -i {} ::: " + "a " * 70, "more than 64 calls"),
        ("A=b", "there is no command in it"),
        ("tcpdump -i eth\udcff", '"eth\\udcff" is not UTF-8'),
    ],
)
def test_refused_before_the_program(words: str, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        convert(words.split())
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("tcpdump -k", 'tcpdump has no option "-k"'),
        ("tcpdump -nY", 'tcpdump has no option "-Y", in "-nY"'),
        ("tcpdump --lines", 'tcpdump has no option "--lines"'),
        ("tcpdump --list", "may be --list-interfaces, --list-time-stamp-types, --list-data"),
        ("tcpdump --nano=3", "--nano takes no value"),
        ("tcpdump -i", "-i needs a value"),
        ("tcpdump -r x", "-r x: it reads files"),
        ("tcpdump -D", "-D: it lists something"),
        ("tcpdump -i eth0 -d", "captures nothing"),
        ("tcpdump -s 300000", "-s 300000 is not a number of bytes from 0 to 262144"),
        ("tcpdump -s 9x", "-s 9x is not a number of bytes"),
        ("tcpdump -B 0", "-B 0 is not a size above 0"),
        ("tcpdump -B x", "-B x is not a size above 0"),
        ("tcpdump -C 0", "-C 0 is not a file size"),
        ("tcpdump -C 10MB", "-C 10MB is not a file size"),
        ("tcpdump -C 9223372036855", "is not a file size"),
        ("tcpdump -G -5", "-G -5 is not a number of seconds"),
        ("tcpdump -W 0", "-W 0 is not a number of files above 0"),
        ("tcpdump -c 0", "-c 0 is not a number of packets above 0"),
        ("tcpdump -Q sideways", "-Q sideways is none of in, out, inout"),
        ("tcpdump -i 2", "write the interface's name; 2 is its place in tcpdump -D"),
        ("tcpdump -i nflog:1", '"nflog:1" is not a network interface'),
        ("tcpdump -i eth*", "is not the name of one interface"),
        ("tcpdump -i eth{0,1}", "-i eth{0,1}: braces are for a shell"),
        ("tcpdump -i abcdefghijklmnopq", "is longer than 15 bytes"),
        ("tcpdump -i eth0 host example.com", "unknown host 'example.com'; capd accepts addresses"),
        ("tcpdump -i eth0 port port", "the expression: cannot use the filter"),
        ("dumpcap -Y", 'dumpcap has no option "-Y"'),
        ("dumpcap -S", "capd status"),
        ("dumpcap a b", '"b" is no option'),
        ("dumpcap -B 1x", "is not a whole number from 1"),
        ("dumpcap -s 0x60", "is not a whole number from 1"),
        ("dumpcap -c 0", "is not a whole number from 1"),
        ("dumpcap -b filesize", "-b filesize is not one of duration:N"),
        ("dumpcap -b filesize:1.5", "is not a whole number from 1"),
        ("dumpcap -b files:0", "is not a whole number from 1"),
        ("dumpcap -b duration:x", "is not a number of seconds above 0"),
        ("dumpcap -a bogus:1", "-a bogus:1 is not one of"),
        ("dumpcap -i -", "is not a network interface"),
        ("dumpcap -i rpcap://h/eth0", "is not a network interface"),
        ("dumpcap -i eth0 -i eth0", 'the interface "eth0" is there twice'),
        ("dumpcap -f predef:x", "give the filter that has this name"),
        ("", "there is no command in it"),
    ],
)
def test_refused_by_name(words: str, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        convert(words.split())
    assert reason in str(error.value)


def test_what_is_refused_does_no_harm_to_a_terminal() -> None:
    """Whatever is in the word that is named."""
    with pytest.raises(UsageError) as error:
        convert(["tcpdump", "-i", "eth0", "-w", "/data/x", "-C", "1\x1b[2J"])
    assert "tcpdump: -C 1\\x1b[2J is not a file size" in str(error.value)
