"""Any bytes as a line for `capd convert`, or as its words, separated by NUL.

What must hold: a config that loads and notes that a terminal can show, or a UsageError on one line.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator

from capd.convert.conversion import Conversion, convert, planned, written
from capd.convert.dumpcap_options import TABLE as DUMPCAP
from capd.convert.tcpdump_options import TABLE as TCPDUMP
from capd.convert.wrappers import OTHERS, WRAPPERS
from capd.errors import UsageError
from capd.units import printable
from tests.fuzzing import refusal
from tests.support.conversions import loaded

_LINES = (
    "tcpdump -i eth0 -w /data/x udp",
    "dumpcap -i eth0 -i eth1 -f udp -b filesize:1000 -b files:10 -w /data/x.pcapng -q",
    "sudo taskset -c 2,3 tcpdump -ni eth0 -B 65536 -C 100 -W 10 -G 3600 -s 96 -z gzip -w '/a b/%F'",
    "for i in a b; do tcpdump -i eth0 -w x & done; ethtool -K eth0 gro off",
    'parallel -j0 "dumpcap -i {} -w /d/{}.pcapng" ::: eth0 eth1',
    "nohup sh -c 'tcpdump -i any -w - | gzip > /x/y.gz' >/dev/null 2>&1 &",
)
_OPTIONS = (*TCPDUMP, *DUMPCAP)
_NAMES = [f"-{each.short}" for each in _OPTIONS] + [f"--{each.long}" for each in _OPTIONS]
_PARTS = ("tcpdump -i eth0 ", "dumpcap ", "filesize:", "duration:", ":::", "2>&1")
WORDS = (*dict.fromkeys(_NAMES), *WRAPPERS, *OTHERS, *_PARTS)
_SELDOM = 64


def seeds() -> Iterator[bytes]:
    """As people write them: the whole line, and as words."""
    for line in _LINES:
        yield line.encode()
        yield b"\0".join(line.encode().split())


def check(data: bytes) -> None:
    """Convert it, and load what came of it."""
    words = [os.fsdecode(word) for word in data.split(b"\0")]
    try:
        conversion = _converted(words)
    except UsageError as error:
        _judge(words, error)
        return
    loaded(conversion.toml)
    assert json.loads(conversion.as_json())["toml"] == conversion.toml
    assert "".join(conversion.lines()).isprintable()


def _judge(words: list[str], refused: UsageError) -> None:
    """It is refused as a whole too, and in words that harm nobody."""
    said = ""
    try:
        convert(words)
    except UsageError as error:
        refusal.check(error)
        said = str(error)
    assert said == printable(str(refused))


def _converted(words: list[str]) -> Conversion:
    """Most filters that can be any are not compiled: it takes a process for each, and long."""
    plan, line = planned(words)
    filters = [each.settings["filter"] for each in plan.recordings if "filter" in each.settings]
    texts = "".join(str(each.value) for each in filters)
    if texts.isprintable() and zlib.crc32(texts.encode()) % _SELDOM:
        return written(plan, line)
    return convert(words)
