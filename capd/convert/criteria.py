"""dumpcap's -a, -b and -c: when it stops, when a file ends, how many files are kept."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from capd.config import Capture
from capd.convert import files
from capd.convert.amounts import positive, size_said
from capd.convert.options import Given
from capd.convert.plan import Plan, Setting
from capd.errors import UsageError
from capd.units import MAX, SECOND, format_count, format_duration, format_size, shown

_MOST_FILES = 100_000  # RINGBUFFER_MAX_NUM_FILES
_SECONDS = re.compile(r"([0-9]{1,9})(?:\.[0-9]*)?")
_ENDS = "dumpcap ends then; capd records on and on"
_STOPS = ("duration", "files", "filesize", "packets")
_SWITCHES = (*_STOPS, "interval", "printname")


@dataclass
class Criteria:
    """What they say, in order of their appearance; of two for the same the last one counts."""

    switches: dict[str, tuple[int, str]] = field(default_factory=dict)  # value and spelling
    many: bool = False  # whether there are to be several files at all

    def take(self, plan: Plan, given: Given) -> None:
        """One more option.  UsageError for what dumpcap refuses."""
        if given.name == "-c":
            positive(f"dumpcap: {given.spelled}", given.value)
            plan.otherwise(given.spelled, _ENDS)
            return
        test, colon, text = given.value.partition(":")
        known = _STOPS if given.name == "-a" else _SWITCHES
        if not colon or not text or (given.name == "-a" and test not in known):
            raise UsageError(f"dumpcap: {given.spelled} is not one of {':N, '.join(known)}:N")
        if given.name == "-a":
            self._stop(plan, given, test, text)
        elif test not in known:
            self.many = True
            plan.surprise(given.spelled, f"no criterion is called {shown(test)}, and none is used")
        elif test == "printname":
            self.many = True
            plan.otherwise(given.spelled, f"capd prints no names; {files.FINISHED}")
        else:
            self.many = True
            self._switch(plan, given, test, text)

    def _stop(self, plan: Plan, given: Given, test: str, text: str) -> None:
        if test == "filesize":
            # beside -b it ends the file, not the capture
            self._set(plan, given, test, positive(f"dumpcap: {given.spelled}", text) * 1000)
            return
        if test == "duration":
            _whole_seconds(given, text)
        else:
            positive(f"dumpcap: {given.spelled}", text)
        plan.otherwise(given.spelled, _ENDS)

    def _switch(self, plan: Plan, given: Given, test: str, text: str) -> None:
        if test == "duration":
            number = _whole_seconds(given, text)
            if "." in text:
                plan.otherwise(given.spelled, f"capd counts whole seconds: {number}")
        else:
            number = positive(f"dumpcap: {given.spelled}", text)
        if test == "packets":
            plan.otherwise(given.spelled, "capd counts no packets: rotate_size, rotate_interval")
        self._set(plan, given, test, number * 1000 if test == "filesize" else number)

    def _set(self, plan: Plan, given: Given, test: str, number: int) -> None:
        before = self.switches.get(test)
        if before is not None and before[1] != given.spelled:
            plan.surprise(before[1], f"only the last {test}: counts: {given.spelled}")
        self.switches[test] = (number, given.spelled)

    def rotation(self, plan: Plan, to_a_file: bool) -> dict[str, Setting]:  # noqa: FBT001
        """The keys of [capture]; what is to be kept goes into the plan."""
        made: dict[str, Setting] = {}
        size = self.switches.get("filesize")
        if size is not None and not self.many:
            plan.otherwise(size[1], _ENDS)
            size = None
        if self.many and not to_a_file:
            spelled = next(iter(self.switches.values()), (0, "-b"))[1]
            plan.surprise(spelled, "without a file of -w, -b is off; capd does as it says")
        if size is not None:
            text = f"filesize counts in kB of 1000 bytes: this is {size_said(size[0])}"
            plan.surprise(size[1], text)
            files.rotate_size(plan, made, size[0], size[1])
        period = self._period(plan, made)
        self._kept(plan, period)
        if self.many and (size is None) != (period is None):
            self._besides(plan, size is None)
        return made

    def _period(self, plan: Plan, made: dict[str, Setting]) -> int | None:
        """Seconds: the shorter of the two that there are."""
        found = [self.switches[test] for test in ("duration", "interval") if test in self.switches]
        if not found:
            return None
        if "duration" in self.switches:
            plan.otherwise(
                self.switches["duration"][1],
                "from whenever dumpcap was started; capd's files end at multiples of it in UTC",
            )
        seconds, spelled = min(found)
        for _, other in found:
            if other != spelled:
                plan.surprise(other, f"{spelled} ends each file before it")
        files.every(plan, made, seconds, spelled)
        return seconds

    def _kept(self, plan: Plan, period: int | None) -> None:
        if "files" not in self.switches:
            if self.many:
                text = "without files:N the disk fills up; capd keeps what fits (max_usage)"
                plan.surprise("-b", text)
            return
        count, spelled = self.switches["files"]
        if count > _MOST_FILES:
            plan.surprise(spelled, f"dumpcap keeps {format_count(_MOST_FILES)} files at most")
            count = _MOST_FILES
        size = self.switches.get("filesize")
        if size is not None:
            most = min(count * size[0], MAX)
            text = f"{format_count(count)} files of {size_said(size[0])}: {size_said(most)}"
            plan.surprise(spelled, f"{text} in all, whatever the disk holds")
            files.keep_size(plan, most, f"{size[1]} {spelled}")
        if period is not None:
            files.keep_age(plan, min(count * period, MAX // SECOND), spelled)
        if size is None and period is None:
            text = "it does not say when a file ends"
            plan.surprise(spelled, f"{text} (filesize:, duration:, interval:), and nothing rotates")

    def _besides(self, plan: Plan, by_time: bool) -> None:  # noqa: FBT001
        """Which of the two limits of a file capd adds."""
        defaults = Capture()
        if by_time:
            text = f"at {format_size(defaults.rotate_size)} too (rotate_size)"
        else:
            text = f"every {format_duration(defaults.rotate_interval)} too (rotate_interval)"
        plan.otherwise("-b", f"capd begins a file {text}")


def _whole_seconds(given: Given, text: str) -> int:
    """A duration, for which dumpcap takes what a number begins with; capd's least is 1 s."""
    match = _SECONDS.match(text)
    if match is None or float(match[0]) <= 0:
        raise UsageError(f"dumpcap: {given.spelled} is not a number of seconds above 0")
    return max(int(match[1]), 1)
