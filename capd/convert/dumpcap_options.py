"""dumpcap's options.

Sources: dumpcap(1) and `dumpcap --help` of Debian 12, which a test compares.
"""

from __future__ import annotations

from capd.convert.options import LISTS, SHARED, flag, valued

_LOGGING = "about messages; capd's are in the journal"
_MEMORY = "capd's memory for packets is the ring: ring_size"

TABLE = (
    *SHARED,
    valued("-a --autostop"),
    valued("-b --ring-buffer"),
    valued("-f"),
    flag("-P"),
    valued("--time-stamp-type"),
    valued(
        "-k",
        "otherwise",
        "capd sets no channel: `iw dev ... set freq` does",
    ),
    valued(
        "-C",
        "otherwise",
        f"no size of files (that is tcpdump's -C): bytes of memory within dumpcap; {_MEMORY}",
    ),
    valued("-N", "otherwise", f"packets in memory within dumpcap; {_MEMORY}"),
    flag(
        "-g",
        "otherwise",
        "capd's files can be read by its group, capd: usermod -aG capd somebody",
    ),
    valued("--capture-comment", "otherwise", "capd writes no comments of others' own"),
    valued("--ifname", "otherwise", "capd's files name the interface as it is called"),
    valued("--ifdescr", "otherwise", "capd's files describe no interface"),
    flag("-n", "idle", "pcapng, as by default and as capd writes"),
    flag("-t", "idle", "capd has a process for each interface"),
    flag("-q", "idle", "about what is printed"),
    flag("-M", "idle", "about what is printed"),
    valued("--temp-dir", "idle", "without -w only, and capd has a directory"),
    valued("--update-interval", "idle", "about what is printed"),
    *(valued(f"--log-{name}", "idle", _LOGGING) for name in ("level", "fatal", "file")),
    *(valued(f"--log-{name}", "idle", _LOGGING) for name in ("domains", "debug", "noisy")),
    valued("--log-fatal-domains", "idle", _LOGGING),
    flag("-L --list-data-link-types", "refused", LISTS),
    flag("--list-time-stamp-types", "refused", LISTS),
    flag("-S", "refused", "it counts packets and records none: capd status --watch"),
    flag("-v --version", "refused", LISTS),
    valued("-Z", "refused", "it is how Wireshark talks to dumpcap"),
)
