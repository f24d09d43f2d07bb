"""What stands before a program in a line: sudo, nohup, taskset, parallel, sh -c, ..."""

from __future__ import annotations

import posixpath
import re
import shlex
from dataclasses import dataclass, field
from typing import NamedTuple

from capd.convert.options import Line, flag, parse, valued
from capd.convert.plan import Note, Setting
from capd.convert.shell import Command, commands
from capd.errors import UsageError
from capd.units import shown

PROGRAMS = ("tcpdump", "dumpcap")
MOST_CALLS = 64

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_UNIT_LINE = re.compile(r"ExecStart=[-@:+!]*(.+)", re.DOTALL)
_KEYWORDS = ("do", "then", "else", "!", "{", "time", "exec", "command", "builtin")
_SHELLS = ("sh", "bash", "dash", "ksh", "zsh")
_REPLACEMENT = re.compile(r"\{[^{}\s]*\}")
_MOST_CPUS = 8192


class Wrapper(NamedTuple):
    """How a program names the one that it starts."""

    flags: str  # its options without a value, a letter each
    values: str  # and those with one
    longs: str = ""  # long ones with a value, separated by spaces; others have it behind "="
    operands: int = 0  # words of its own before the program
    text: str = "systemd starts capd, with the rights and the place that its unit gives it"


_RIGHTS = "capd has a user of its own, and of root's rights only those that capture needs"
_BACKGROUND = "systemd keeps capd running, and starts it at boot"
_IMPORTANCE = "capd.service decides about that: systemctl edit capd has Nice=, CPUSchedulingPolicy="
_LIMITS = "capd.service decides about that: systemctl edit capd has Limit*=, OOMScoreAdjust="
_NODES = (
    "cpus of [[interface]] names the processors of a worker; of all capd, and of its memory: "
    "systemctl edit capd has CPUAffinity=, NUMAPolicy=, NUMAMask="
)
_NO_END = "capd records until it is stopped; for a while only: capd run --seconds N"

WRAPPERS = {
    "sudo": Wrapper(
        "ABbEeHiKklNnPSsVv", "aCcDghpRrTtUu", "user group host prompt chdir chroot", 0, _RIGHTS
    ),
    "doas": Wrapper("Lns", "aCu", text=_RIGHTS),
    "pkexec": Wrapper("", "", "user", text=_RIGHTS),
    "runuser": Wrapper(
        "fPlmp", "cgGsuw", "command group supp-group shell user whitelist-environment", 0, _RIGHTS
    ),
    "setpriv": Wrapper(
        "d",
        "",
        "ambient-caps inh-caps bounding-set ruid euid rgid egid reuid regid groups securebits "
        "pdeathsig selinux-label apparmor-profile",
        text=_RIGHTS,
    ),
    "systemd-run": Wrapper(
        "dGPqrSt",
        "EHMpu",
        "unit property description slice uid gid nice working-directory setenv host machine "
        "service-type on-active on-boot on-startup on-calendar timer-property",
        text=_BACKGROUND,
    ),
    "screen": Wrapper("aAdDiLmOqrRUxX", "cehpsStT", text=_BACKGROUND),
    "daemonize": Wrapper("av", "ceEoplu", text=_BACKGROUND),
    "nohup": Wrapper("", "", text=_BACKGROUND),
    "setsid": Wrapper("cfw", "", text=_BACKGROUND),
    "nice": Wrapper("0123456789", "n", "adjustment", text=_IMPORTANCE),
    "ionice": Wrapper("t", "cnpPu", "class classdata", text=_IMPORTANCE),
    "chrt": Wrapper("abdfiormpv", "TPD", operands=1, text=_IMPORTANCE),
    "taskset": Wrapper("ac", "", operands=1),
    "numactl": Wrapper(
        "abls",
        "CNmipw",
        "physcpubind cpunodebind membind interleave preferred weighted-interleave",
        text=_NODES,
    ),
    "choom": Wrapper("", "np", "adjust pid", text=_LIMITS),
    "prlimit": Wrapper("", "", text=_LIMITS),
    "cgexec": Wrapper("", "g", text=_LIMITS),
    "flock": Wrapper(
        "eFnosuvx", "Ew", "timeout wait conflict-exit-code", 1, "capd itself lets in no second one"
    ),
    "timeout": Wrapper("v", "ks", "kill-after signal", 1, _NO_END),
    "stdbuf": Wrapper("", "ioe", "input output error", text="files are written in whole blocks"),
    "unbuffer": Wrapper("p", "", text="files are written in whole blocks"),
    "env": Wrapper("i0v", "uCS", "unset chdir split-string"),
}
_SHELL = Wrapper("cilrsxeuvn", "o")
_SU = Wrapper("flmpP", "cgGsTw", "command group supp-group shell whitelist-environment")
_TMUX = Wrapper("2CDluUvN", "cfLST")
_WINDOW = Wrapper("abdADEPX", "cefFnstxy")
_PARALLEL = Wrapper("kqtuvX", "jP", "jobs max-procs joblog delay retries")
_OF_TEXTS = {
    "parallel": "capd records all interfaces at once",
    **dict.fromkeys(("su", "runuser"), _RIGHTS),
    "tmux": _BACKGROUND,
}

# What is no capture at all, or not one that a line tells everything about.
_ELSEWHERE = "it runs where this machine's capd does not: convert what stands behind it, there"
_COMPRESSION = "capd compresses finished files: [compression] enabled = true"
_TUNING = "what is set for the kernel and for NICs stands in [tuning]; capd tune show"
_KEEPING = "what is kept is said in [storage]: max_usage, min_free, max_size, max_files, max_age"
_DUMPCAP = "it captures by way of dumpcap: give its -i, -f, -s, -B, -b, -a, -w as dumpcap's"
OTHERS = {
    "tshark": _DUMPCAP,
    "wireshark": _DUMPCAP,
    "pfcount": "it counts packets and records none: -c is a cluster's number, -h is its help",
    "netsniff-ng": "only tcpdump's and dumpcap's lines are understood; keys are in capd.toml",
    "daemonlogger": "only tcpdump's and dumpcap's lines are understood; keys are in capd.toml",
    "xargs": "give the line of each interface by itself",
    **dict.fromkeys(("ssh", "ip", "docker", "podman", "kubectl", "nsenter", "chroot"), _ELSEWHERE),
    **dict.fromkeys(("gzip", "bzip2", "xz", "zstd", "pigz", "lz4"), _COMPRESSION),
    **dict.fromkeys(("ethtool", "sysctl", "echo", "tee"), _TUNING),
    **dict.fromkeys(("find", "rm", "ls", "df"), _KEEPING),
    "start-stop-daemon": "give the line of what it starts",
    "mail": "somebody is told of losses by [alert] command",
}


@dataclass
class Call:
    """One call of a program, its own name first."""

    program: str
    words: list[str]
    output: str = ""  # where its standard output goes
    cpus: Setting | None = None
    notes: list[Note] = field(default_factory=list)


def calls(command: Command) -> list[Call]:
    """What a command comes to, of whatever program; none without one.  UsageError."""
    notes = [Note(text, "otherwise", _redirection(text)) for text in command.stripped]
    cpus: Setting | None = None
    words = _out_of_unit(command.words, notes)
    while words:
        name, behind = posixpath.basename(words[0]), words[1:]
        if _runs_texts(name, behind):
            if name in _OF_TEXTS:
                notes.append(Note(name, "otherwise", _OF_TEXTS[name]))
            return _nested(_texts(name, behind), cpus, notes)
        if _ASSIGNMENT.fullmatch(words[0]):
            notes.append(Note(words[0], "otherwise", "what capd does stands in its config file"))
            words = behind
        elif name in _KEYWORDS:
            words = behind
        elif name in WRAPPERS:
            line, words = _unwrapped(name, WRAPPERS[name], behind)
            text = " ".join([name, *(given.spelled for given in line.given), *line.operands])
            if name in ("taskset", "numactl"):
                cpus = _cpus(name, line, text) or cpus
            if name != "taskset":
                notes.append(Note(text, "otherwise", WRAPPERS[name].text))
            if name == "flock" and words[0] == "-c":
                words = ["sh", *words]
        else:
            return [Call(name, behind, command.output, cpus, notes)]
    return []


def _out_of_unit(words: list[str], notes: list[Note]) -> list[str]:
    """Without ExecStart=, if that is there; in a unit %% is a %."""
    line = _UNIT_LINE.fullmatch(words[0]) if words else None
    if line is None:
        return words
    for word in words:
        if "%" in word.replace("%%", ""):
            raise UsageError(f"ExecStart=: {shown(word)}: what systemd puts in is not known here")
    notes.append(Note("ExecStart=", "otherwise", _BACKGROUND))
    return [word.replace("%%", "%") for word in (line[1], *words[1:])]


def _redirection(text: str) -> str:
    if text == "&":
        return _BACKGROUND
    if text.startswith(("<", "0<")):
        return "capd reads nothing from its standard input"
    return "what capd has to say is in the journal: journalctl -u capd"


def _line(name: str, wrapper: Wrapper, words: list[str], *, permute: bool = False) -> Line:
    """A wrapper's options, and all that stands behind them."""
    table = [flag(f"-{letter}") for letter in wrapper.flags]
    table += [valued(f"-{letter}") for letter in wrapper.values]
    table += [valued(f"--{long}") for long in wrapper.longs.split()]
    # Its other long options have their value behind "=", if any.
    for word in words:
        long = word.partition("=")[0]
        if not long.startswith("--") or long == "--":
            continue
        if long[2:] not in {option.long for option in table}:
            table.append(valued(long) if "=" in word else flag(long))
    return parse(name, table, words, permute=permute)


def _unwrapped(name: str, wrapper: Wrapper, words: list[str]) -> tuple[Line, list[str]]:
    """A wrapper's own part of its words, and the rest."""
    line = _line(name, wrapper, words)
    own, rest = line.operands[: wrapper.operands], line.operands[wrapper.operands :]
    if not rest:
        raise UsageError(f"{name}: no program stands behind it")
    return line._replace(operands=own), rest


def _cpus(name: str, line: Line, origin: str) -> Setting | None:
    """What taskset allows, and numactl where it says processors."""
    if name == "taskset":
        listed = any(given.name == "-c" or given.spelled == "--cpu-list" for given in line.given)
        return Setting(_processors(name, line.operands[0], listed=listed), origin)
    for given in line.given:
        if given.name in ("-C", "--physcpubind") and re.match("[0-9]", given.value):
            return Setting(_processors(name, given.value, listed=True), origin)
    return None


def _processors(name: str, text: str, *, listed: bool) -> list[int]:
    """A list, or a mask."""
    found: set[int] = set()
    try:
        if not listed:
            mask = int(text, 16)
            found.update(
                bit for bit in range(min(mask.bit_length(), _MOST_CPUS)) if mask >> bit & 1
            )
        for part in text.split(",") if listed else ():
            span, _, step = part.partition(":")
            first, dash, last = span.partition("-")
            most = min(int(last if dash else first), _MOST_CPUS - 1)
            found.update(range(int(first), most + 1, int(step or 1)))
    except ValueError:
        found = set()
    if not found or min(found) < 0:
        raise UsageError(f"{name}: {shown(text)} names no processors")
    return sorted(found)


def _runs_texts(name: str, words: list[str]) -> bool:
    """Whether a program runs lines of shell, rather than a program."""
    if name == "runuser":
        given = {one.name for one in _line(name, WRAPPERS[name], words).given}
        return not given & {"-u", "--user"}
    return name in _OF_TEXTS or name in _SHELLS


def _texts(name: str, words: list[str]) -> list[str]:
    """The lines of shell that a program runs."""
    match name:
        case "parallel":
            return _parallel(words)
        case "su" | "runuser":
            return _su(name, words)
        case "tmux":
            return _tmux(words)
    return _shell(name, words)


def _su(name: str, words: list[str]) -> list[str]:
    line = _line(name, _SU, words, permute=True)
    texts = [given.value for given in line.given if given.name in ("-c", "--command")]
    if not texts:
        raise UsageError(f"{name}: without -c no program stands behind it")
    return texts[-1:]


def _tmux(words: list[str]) -> list[str]:
    verb, *rest = _line("tmux", _TMUX, words).operands or [""]
    if verb not in ("new-session", "new", "new-window", "neww"):
        raise UsageError("tmux: give the line that runs in it, or new-session with that")
    command = _line("tmux", _WINDOW, rest).operands
    if not command:
        raise UsageError("tmux: no program stands behind it")
    return command if len(command) == 1 else [shlex.join(command)]


def _shell(name: str, words: list[str]) -> list[str]:
    """The text that a shell is given by -c."""
    line = _line(name, _SHELL, words)
    if len(line.operands) != 1 or all(given.name != "-c" for given in line.given):
        raise UsageError(f"{name}: a script is not read here; give the line that is in it")
    return line.operands


def _parallel(words: list[str]) -> list[str]:
    """The texts that GNU parallel runs, one for each of what stands behind `:::`."""
    behind = _line("parallel", _PARALLEL, words).operands
    if behind.count(":::") != 1 or any(re.match("::::|:::[+]", word) for word in behind):
        raise UsageError(
            "parallel: only one ::: is understood, with what is to be put in behind it"
        )
    at = behind.index(":::")
    text, each = " ".join(behind[:at]), behind[at + 1 :]
    strange = next((m[0] for m in _REPLACEMENT.finditer(text) if m[0] not in ("{}", "{1}")), None)
    if strange is not None:
        raise UsageError(f"parallel: {strange} is not understood; give the line of each by itself")
    pieces = _REPLACEMENT.split(text if _REPLACEMENT.search(text) else f"{text} {{}}")
    return [shlex.quote(one).join(pieces) for one in each]


def _nested(texts: list[str], cpus: Setting | None, notes: list[Note]) -> list[Call]:
    found: list[Call] = []
    for text in texts:
        for command in commands(text):
            found += calls(command)
            if len(found) > MOST_CALLS:
                raise UsageError(f"these are more than {MOST_CALLS} calls: convert fewer at once")
    for call in found:
        call.cpus = call.cpus or cpus
        call.notes[:0] = notes
    return found
