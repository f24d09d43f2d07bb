"""tcpdump's options: those of 4.99, and what 5.0 adds.

Sources: tcpdump(8) and `tcpdump --help` of Debian 12, which a test compares; for 5.0 its manual.
"""

from __future__ import annotations

from capd.convert.options import LISTS, SHARED, flag, valued

_PRINTING = "about printing; with -w nothing is printed"
_READS = "it reads files and captures nothing; capd extract gives packets back for tcpdump -r -"

TABLE = (
    *SHARED,
    valued("-C"),
    valued("-F"),
    valued("-G"),
    valued("-j --time-stamp-type"),
    valued("-Q --direction"),
    valued("-W"),
    valued("-z"),
    flag(
        "-U --packet-buffered",
        "otherwise",
        "each packet is written by itself, which costs packets on a fast link; capd writes whole "
        "blocks, and what waits after flush_interval, 500 ms",
    ),
    flag(
        "--immediate-mode",
        "otherwise",
        "each packet is handed over by itself, which costs packets on a fast link; capd writes "
        "whole blocks, and what waits after flush_interval, 500 ms",
    ),
    valued(
        "-Z --relinquish-privileges",
        "otherwise",
        "tcpdump opens the first file as root, if at all, and later ones as this user (without -Z "
        "as the user tcpdump): the second file is where that fails; capd is the user capd "
        "from the first byte to the last",
    ),
    valued(
        "--time-stamp-precision",
        "idle",
        "capd's stamps are in nanoseconds",
    ),
    flag("--micro", "idle", "capd's stamps are in nanoseconds"),
    flag("--nano", "idle", "capd's stamps are in nanoseconds"),
    flag(
        "--print",
        "otherwise",
        "capd prints nothing; to watch: capd extract --follow | tcpdump -r -",
    ),
    valued("--skip", "otherwise", "capd skips no packets at the beginning"),
    flag("-O --no-optimize", "idle", "the same packets, filtered more slowly"),
    flag("-J --list-time-stamp-types", "refused", LISTS),
    flag("-L --list-data-link-types", "refused", LISTS),
    valued("-r", "refused", _READS),
    valued("-V", "refused", _READS),
    flag("--count", "idle", "it counts what is read by -r"),
    flag("--version", "refused", LISTS),
    *(flag(f"-{letter}", "idle", _PRINTING) for letter in "aAbefHlNnqtuvxX"),
    *(valued(f"-{letter}", "idle", _PRINTING) for letter in "EmMT"),
    flag("-K --dont-verify-checksums", "idle", _PRINTING),
    flag("-S --absolute-tcp-sequence-numbers", "idle", _PRINTING),
    flag("-# --number", "idle", _PRINTING),
    flag("-g --ip-oneline", "idle", _PRINTING),
    flag("--lengths", "idle", _PRINTING),
    valued("--print-sampling", "idle", _PRINTING),
    flag("--time-t-size", "idle", _PRINTING),
)
