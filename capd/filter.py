"""Filter texts in, kernel programs out: pcap-filter(7), compiled by libpcap.

This module owns what capd adds to the language (direction, snaplen, what is refused) and
the child process that meets libpcap, `filter_compiler.py`.  It attaches nothing.

What a filter means: its terms see the frame without its outer VLAN tag, which the kernel
has taken off by then; `vlan` asks about that tag.
"""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from capd.errors import CompilerError, FilterError

Direction = Literal["both", "in", "out"]

MAX_TEXT = 30_000  # characters; a file's header and a message must hold the text
_SECONDS = 20  # by the wall clock and for one request; the child's own limit is on CPU time
_COMPILER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "filter_compiler.py")
# The first needs no privilege where user namespaces are allowed, the second CAP_NET_RAW.
_PLACES = {
    "namespace": "in a network namespace of its own",
    "host": "on this machine's lo",
}
# Ends that a filter brings about itself, and would again; all others came from somebody else.
_OF_THE_FILTER = {
    signal.SIGXCPU,
    signal.SIGSEGV,
    signal.SIGBUS,
    signal.SIGABRT,
    signal.SIGILL,
    signal.SIGFPE,
}
_DOWN = "device is not up"  # libpcap's words
# What libpcap's own words leave open.
_HINTS = (
    (
        re.compile(r"unknown (ether )?(host|network)\b"),
        "; capd accepts addresses only, because what a name means changes",
    ),
    (re.compile("rejects all packets"), ": it can match nothing"),
    (re.compile("syntax error"), "; see pcap-filter(7)"),
    (re.compile("memory"), ": it is too long or nested too deeply"),
)


@dataclass(frozen=True)
class FilterRequest:
    """One program that is wanted."""

    text: str  # pcap-filter(7), "" for everything
    link_type: int  # pcapng LINKTYPE_*
    snaplen: int  # bytes the kernel keeps of a packet: what the program returns
    direction: Direction = "both"


Outcome = bytes | FilterError

_MOST_KNOWN = 1024
_known: dict[FilterRequest, Outcome] = {}  # a reload asks again for what is in force


def effective(text: str, direction: Direction) -> str:
    """The whole filter in libpcap's own words; files record it as what they were filtered by."""
    text = text.strip()
    if direction == "both":
        return text
    term = "inbound" if direction == "in" else "outbound"
    return f"{term} and ({text})" if text else term


def compile_filters(requests: Sequence[FilterRequest]) -> list[Outcome]:
    """For each request its program, or the error that says why there is none.

    A program is an array of struct sock_filter, 8 bytes each, in this machine's byte
    order.  CompilerError is raised when nothing at all can be compiled here; it is an outcome
    where one request's child was ended by others.  A process asks libpcap once for each
    request, as far as it remembers.
    """
    outcomes = {request: _known[request] for request in requests if request in _known}
    for request in requests:
        refusal = _refusal(request.text)
        if refusal is not None:
            outcomes[request] = _error(request.text, refusal)
    waiting = [request for request in dict.fromkeys(requests) if request not in outcomes]
    while waiting:
        # Fewer answers than requests: the last one answered for is the one that ended the child.
        answered = _compile(waiting)
        outcomes.update(zip(waiting, answered, strict=False))
        waiting = waiting[len(answered) :]
    _known.update(pair for pair in outcomes.items() if _lasts(pair[1]))
    for oldest in list(_known)[:-_MOST_KNOWN]:
        _known.pop(oldest, None)
    return [outcomes[request] for request in requests]


def rejects_all(error: FilterError) -> bool:
    """Whether a filter is one, but nothing on this kind of link passes it: arp on a tunnel."""
    return "rejects all packets" in str(error)


def _lasts(outcome: Outcome) -> bool:
    """Whether it would be the same the next time.

    Not what came of a child that was ended by others, nor a want of memory: how long a program
    may be is a setting (net.core.optmem_max).
    """
    is_scarce = os.strerror(errno.ENOMEM) in str(outcome)
    return isinstance(outcome, bytes) or not (is_scarce or isinstance(outcome, CompilerError))


def _refusal(text: str) -> str | None:
    """Why this text is not even shown to libpcap."""
    if len(text) > MAX_TEXT:
        return f"it is {len(text):,} characters long; make it shorter than {MAX_TEXT:,}"
    strange = next((c for c in text if not (" " <= c <= "~" or c in "\t\r\n")), None)
    if strange is not None:
        return f"the character {strange!a} has no place in a filter; see pcap-filter(7)"
    return None


def _compile(requests: list[FilterRequest]) -> list[Outcome]:
    """What one child answers: at least one outcome, in order."""
    reasons = []
    for place, words in _PLACES.items():
        lines, end, is_lasting = _run(place, requests)
        last = lines[-1] if lines else {}
        if "failure" in last:
            raise CompilerError(f"cannot compile filters: {_clean(last['failure'])}")
        if "unavailable" not in last:
            outcomes = [_outcome(*pair) for pair in zip(requests, lines, strict=False)]
            if len(outcomes) < len(requests):
                kind = FilterError if is_lasting else CompilerError
                outcomes.append(_error(requests[len(outcomes)].text, end, kind))
            return outcomes
        reasons.append(f"{words}: {_clean(last['unavailable'])}")
    advice = "run as root, grant CAP_NET_RAW or allow user namespaces"
    if _DOWN in reasons[-1]:
        advice = "set it up: ip link set lo up"
    raise CompilerError(
        f"cannot compile filters: libpcap can open lo neither {' nor '.join(reasons)}; {advice}"
    )


def _run(place: str, requests: Iterable[FilterRequest]) -> tuple[list[dict[str, Any]], str, bool]:
    """The child's answers; if they are too few how it ended, and whether it always would."""
    wanted = [
        {
            # The user's text also alone first: `) or (` must not get through by composition.
            "texts": list(dict.fromkeys((r.text.strip(), effective(r.text, r.direction)))),
            "link_type": r.link_type,
            "snaplen": r.snaplen,
        }
        for r in requests
    ]
    seconds = _SECONDS * len(wanted)
    try:
        child = subprocess.run(
            [sys.executable, "-I", "-S", _COMPILER, place],
            input=json.dumps(wanted).encode(),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        reason = f"libpcap did not finish within {seconds} s; make it simpler"
        return _lines(expired.stdout), reason, False
    except OSError as error:
        reason = f"{error.strerror}: {sys.executable}"
        raise CompilerError(f"cannot compile filters: {reason}") from error
    return _lines(child.stdout), _end(child), -child.returncode in _OF_THE_FILTER


def _lines(output: bytes | None) -> list[dict[str, Any]]:
    whole = (output or b"").split(b"\n")[:-1]
    return [json.loads(line) for line in whole]


def _end(child: subprocess.CompletedProcess[bytes]) -> str:
    if -child.returncode == signal.SIGXCPU:
        return "libpcap did not finish; make it simpler, for example `net` for many hosts"
    if child.returncode < 0:
        return f"libpcap did not survive it ({signal.Signals(-child.returncode).name})"
    last = child.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return f"libpcap did not survive it (exit status {child.returncode}: {_clean(last)})"


def _outcome(request: FilterRequest, answer: dict[str, Any]) -> Outcome:
    if "program" in answer:
        return bytes.fromhex(answer["program"])
    reason = _clean(answer["error"])
    reason += next((hint for words, hint in _HINTS if words.search(reason)), "")
    text = effective(request.text, request.direction) if answer["text"] else request.text
    return _error(text, reason)


def _error(text: str, reason: str, kind: type[FilterError] = FilterError) -> FilterError:
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    return kind(f"cannot use the filter {_clean(shown)!r}: {reason}")


def _clean(text: str) -> str:
    """The text as one printable line."""
    return "".join(c if c.isprintable() else " " for c in text)
