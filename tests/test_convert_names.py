"""Names of files with times in them, under tcpdump's -G: which files they replace, and when."""

from __future__ import annotations

import pytest

from tests.support.conversions import converted


def test_names_that_repeat() -> None:
    """A file each hour, and the day in its name: 23 of 24 are overwritten."""
    name = "-w /data/%Y-%m-%d.pcap"
    line = converted("tcpdump", "-i", "eth0", "-G", "3600", *name.split())
    assert "a file every 1 h, but another name only every 1 d" in line.said("surprise", name)
    line = converted("tcpdump", "-i", "eth0", "-G", "3600", "-w", "/data/%F_%T.pcap")
    assert "another name" not in line.said("surprise", "-w /data/%F_%T.pcap")


@pytest.mark.parametrize(
    ("options", "days"),
    [
        ("-G 60 -w /data/%H%M.pcap", 1),
        ("-G 3600 -C 100 -w /data/%-H.pcap", 1),
        ("-G 3600 -w /data/%a-%I%p.pcap", 7),
        ("-G 1800 -w /data/%d/%H%M.pcap", 31),
        ("-G 3600 -w /data/%j%H.pcap", 366),
        ("-G 3600 -w /data/%Y%j%H.pcap", None),
        ("-G 3600 -w /data/%s.pcap", None),
    ],
)
def test_names_that_come_again(options: str, days: int | None) -> None:
    """Their files are a ring, which no -W has to close, and capd keeps as long."""
    line = converted("tcpdump", "-i", "eth0", *options.split())
    name = options[options.index("-w") :]
    assert line.config.storage.max_age == (days and days * 86400 * 10**9)
    assert (f"come again after {days} d" in line.said("surprise", name)) == bool(days)
    assert ("pile up" in line.said("surprise", "tcpdump")) == (days is None)
    assert ("summer time" in line.said("surprise", name)) == ("%s" not in name)


def test_a_name_that_is_always_the_same() -> None:
    """The hour is in it, and a file is begun once a day, always at the same one."""
    line = converted("tcpdump -i eth0 -G 86400 -C 100 -W 5 -w /data/%H.pcap")
    text = "the name is the same again after 1 d: what a period writes overwrites the one before"
    assert line.said("surprise", "-w /data/%H.pcap") == text
    assert line.config.storage.max_age is None
    assert "pile up" not in line.said("surprise", "-W 5")
