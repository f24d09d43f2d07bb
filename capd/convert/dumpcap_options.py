"""dumpcap's options.

Sources: dumpcap(1) and `dumpcap --help` of Debian 12, which a test compares.
"""

from __future__ import annotations

from capd.convert.options import flag, valued

_LISTS = "it lists something and captures nothing"
_LOGGING = "about messages; capd's are in the journal"
_MEMORY = "capd's memory for packets is the ring: ring_size"

TABLE = (
    valued("-a --autostop"),
    valued("-b --ring-buffer"),
    valued("-B --buffer-size"),
    valued("-c"),
    valued("-f"),
    valued("-i --interface"),
    flag("-p --no-promiscuous-mode"),
    flag("-P"),
    valued("-s --snapshot-length"),
    valued("--time-stamp-type"),
    valued("-w"),
    flag(
        "-I --monitor-mode",
        "otherwise",
        "capd does not set monitor mode: `iw dev` makes an interface that has it, then name that",
    ),
    valued(
        "-k",
        "otherwise",
        "capd sets no channel: `iw dev ... set freq` does",
    ),
    valued("-y --linktype", "otherwise", "capd takes the link type that the interface has"),
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
    flag("-d", "refused", "it shows the filter's code and captures nothing"),
    flag("-D --list-interfaces", "refused", _LISTS),
    flag("-L --list-data-link-types", "refused", _LISTS),
    flag("--list-time-stamp-types", "refused", _LISTS),
    flag("-S", "refused", "it counts packets and records none: capd status --watch"),
    flag("-v --version", "refused", _LISTS),
    flag("-h --help", "refused", _LISTS),
    valued("-Z", "refused", "it is how Wireshark talks to dumpcap"),
)
