"""What a dumpcap line means: options of one interface by their place, then the files.

What stands before the first -i holds for all, what stands behind one for that one only.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from capd.convert import files
from capd.convert.amounts import positive, wrapped
from capd.convert.criteria import Criteria
from capd.convert.dumpcap_options import TABLE
from capd.convert.options import Given, parse
from capd.convert.plan import Plan, Recording, Setting
from capd.errors import UsageError
from capd.units import SIZES, format_size, shown

_SNAPLEN = 262144
_DEFAULT_BUFFER = 2 * SIZES["MiB"]
_OF_AN_INTERFACE = {"-f": "filter", "-s": "snaplen", "-p": "promiscuous", "-B": "ring_size"}


@dataclass
class _Interfaces:
    """The interfaces so far, and what those to come begin with."""

    defaults: dict[str, Setting] = field(default_factory=dict)
    recordings: list[Recording] = field(default_factory=list)

    def settings(self) -> list[dict[str, Setting]]:
        """What an option changes that stands here."""
        if not self.recordings:
            return [self.defaults]
        name = self.recordings[-1].name
        return [each.settings for each in self.recordings if each.name == name]


def plan_of(words: list[str], output: str) -> Plan:
    """What a call with these words records.  UsageError.

    `output`: the file that its standard output goes to, "" for none.
    """
    plan = Plan()
    line = parse("dumpcap", TABLE, words)
    _operands(plan, line.operands)
    found = _Interfaces()
    criteria = Criteria()
    target: Given | None = None
    for given in line.given:
        plan.row(given)
        if given.name == "-i":
            _interface(plan, found, given)
        elif given.name in _OF_AN_INTERFACE:
            _setting(plan, found, given)
        elif given.name in ("-a", "-b", "-c"):
            criteria.take(plan, given)
        elif given.name == "-w":
            if target is not None and target.value != given.value:
                plan.surprise(target.spelled, f"only the last -w counts: {given.spelled}")
            target = given
        elif given.name == "--time-stamp-type":
            files.stamps(plan, given.spelled, given.value)
    if not found.recordings:
        text = "without -i it is the first interface that is not lo; capd takes that of the default"
        plan.surprise("dumpcap", f"{text} route: better name it")
        found.recordings = [Recording(Setting("@default", "no -i"), found.defaults)]
    _uneven(plan, found.recordings, line.given)
    _files(plan, found.recordings, criteria, target, output)
    _format(plan, line.given, found.recordings)
    plan.recordings = found.recordings
    plan.in_order(line.given)
    return plan


def _operands(plan: Plan, operands: list[str]) -> None:
    if len(operands) > 1:
        raise UsageError(f"dumpcap: {shown(operands[1])} is no option; a filter goes behind -f")
    for word in operands:
        text = "a word without an option is ignored, without a complaint: a filter goes behind -f"
        plan.surprise(word, text)


def _interface(plan: Plan, found: _Interfaces, given: Given) -> None:
    for name in files.interface_names(plan, given.spelled, given.value, "dumpcap -D"):
        settings = dict(found.defaults)
        if given.value == "any":
            settings["promiscuous"] = Setting(
                value=False, origin=f"{given.spelled}, which never is"
            )
        found.recordings.append(Recording(Setting(name, given.spelled), settings))


def _setting(plan: Plan, found: _Interfaces, given: Given) -> None:
    for settings in found.settings():
        before = settings.pop(_OF_AN_INTERFACE[given.name], None)
        own = not found.recordings or before is not found.defaults.get(_OF_AN_INTERFACE[given.name])
        if before is not None and own and before.origin != given.spelled:
            plan.surprise(before.origin, f"only the last {given.name} counts: {given.spelled}")
    made: dict[str, Setting] = {}
    if given.name == "-p":
        made["promiscuous"] = Setting(value=False, origin=given.spelled)
    elif given.name == "-B":
        _buffer(plan, made, given)
    elif given.name == "-s":
        length = 0 if given.value == "0" else positive(f"dumpcap: {given.spelled}", given.value)
        files.snaplen(plan, made, min(length, _SNAPLEN), given.spelled)
    elif given.value.startswith("predef:"):
        raise UsageError(f"dumpcap: {given.spelled}: give the filter that has this name")
    elif given.value.strip():
        made["filter"] = Setting(given.value, given.spelled)
    else:
        plan.idle(given.spelled, "everything, as by default")
    for settings in found.settings():
        settings.update(made)


def _buffer(plan: Plan, settings: dict[str, Setting], given: Given) -> None:
    count = positive(f"dumpcap: {given.spelled}", given.value)
    size = count * SIZES["MiB"]
    text = f"-B counts in MiB (tcpdump's in KiB): this is {format_size(size)} for each interface"
    kept = wrapped(size)
    if kept == size:
        plan.surprise(given.spelled, text)
        files.ring_size(plan, settings, size, given.spelled)
        return
    kept = kept if kept > 0 else _DEFAULT_BUFFER
    text += f", which is more than an int holds, and becomes {format_size(kept)} without a word"
    plan.surprise(given.spelled, f"{text}; the ring is left to capd, by the link's speed")


def _uneven(plan: Plan, recordings: list[Recording], line: list[Given]) -> None:
    """Options that hold for some of the interfaces only."""
    for name, key in _OF_AN_INTERFACE.items():
        values = [recording.settings.get(key) for recording in recordings]
        if len({None if value is None else value.value for value in values}) < 2:
            continue
        without = [
            shown(each.name.value)
            for each, value in zip(recordings, values, strict=True)
            if value is None
        ]
        spelled = next((given.spelled for given in reversed(line) if given.name == name), "")
        if not spelled:  # no option says so: `any` is not promiscuous
            continue
        text = f"{name} behind an -i holds for that interface only"
        if without:
            text += f": {' and '.join(without)} without"
        plan.surprise(spelled, f"{text}; for all of them it stands before the first -i")


def _files(
    plan: Plan,
    recordings: list[Recording],
    criteria: Criteria,
    target: Given | None,
    output: str,
) -> None:
    rotation = criteria.rotation(plan, target is not None and target.value not in ("-", ""))
    for recording in recordings:
        recording.settings.update(rotation)
    if target is None:
        text = "without -w the packets go to a file in /tmp with a name of its own"
        plan.surprise("dumpcap", text)
        return
    path = files.target(plan, target, output)
    files.directory(plan, target.spelled, path, timed=False)
    if criteria.many:
        text = "the time in its files' names is local; capd's are in UTC"
        plan.surprise(target.spelled, text)
    elif path != "-":
        plan.surprise(target.spelled, "started again, dumpcap overwrites what is there")
    if len(recordings) > 1:
        plan.otherwise(target.spelled, "one file for all interfaces; capd writes files for each")


def _format(plan: Plan, line: list[Given], recordings: list[Recording]) -> None:
    """-P, which the last of -P and -n decides about."""
    last = next((given for given in reversed(line) if given.name in ("-P", "-n")), None)
    if last is None or last.name != "-P":
        return
    if len(recordings) > 1:
        plan.surprise(last.spelled, "ignored with several interfaces: pcapng all the same")
    text = "capd writes pcapng, which tcpdump -r reads too; editcap -F pcap makes pcap of it"
    plan.otherwise(last.spelled, text)
