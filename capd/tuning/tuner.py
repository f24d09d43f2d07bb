"""Applies what the config asks for, and puts back what was there.

Reads first and writes only what differs.  Before each write the old value is on the disk (see
`record`), after it the value is read again, because drivers round, and some refuse in silence.
What cannot be done is told and hinders nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from capd.config_tuning import MOST
from capd.errors import TuningError
from capd.tuning import sysctl
from capd.tuning.nic import Nics
from capd.tuning.record import Record
from capd.tuning.targets import Target, Value, Wish, label, resets, shown

_LACKING = "its driver has no such setting"
_NEEDS_LEAVE = "default_route = true below [tuning] allows it"


@dataclass
class Account:
    """What was done, and what could not be, in words."""

    done: list[str] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)


class Tuner:
    """Of one network namespace.

    names      of the interfaces that are there, by index
    guarded    indices of those over which the default route leads, where no link may be reset
    """

    def __init__(
        self, nics: Nics, record: Record, names: Mapping[int, str], guarded: Iterable[int]
    ) -> None:
        self._nics = nics
        self._record = record
        self._names = names
        self._guarded = frozenset(guarded)
        self.account = Account()

    def apply(self, wishes: Iterable[Wish]) -> None:
        """Put these in force, and put back what is not asked for any more; StorageError."""
        resolved = [wish for one in wishes for wish in self._resolved(one)]
        asked = {(wish.target.identity, key) for wish in resolved for key in wish.values}
        self._restore(
            lambda target, key: (target.identity, key) not in asked and self._is_there(target),
            careful=True,
        )
        for wish in resolved:
            self._fulfil(wish)

    def restore(self) -> None:
        """Put back everything that is remembered; StorageError."""
        for memory in self._record:
            if not self._is_there(memory.target):
                self._say(memory.target, memory.key, "is gone, and what it was with it")
                self._record.forget(memory.target, {memory.key})
        self._restore(lambda *_: True, careful=False)

    def _resolved(self, wish: Wish) -> list[Wish]:
        """The wish in the driver's own terms; what has none of them is told."""
        target, values = wish
        try:
            if target.kind == "offloads":
                values = self._features(wish)
            present = self._read(target)
            most = self._most(target)
        except TuningError as error:
            self._cannot("set", target, set(values), error)
            return []
        lacking = values.keys() - present.keys()
        if lacking:
            self._cannot("set", target, lacking, TuningError(_LACKING))
        kept = {key: value for key, value in values.items() if key in present}
        for key, limit in most.items():
            value = kept.get(key)
            if isinstance(value, int) and value > limit:
                kept[key] = limit
                if value != MOST:
                    self._say(target, key, f"{value} is more than its driver's most, {limit}")
        return [Wish(target, kept)] if kept else []

    def _features(self, wish: Wish) -> dict[str, Value]:
        """By the kernel's names; one that the user wrote by two names is as the last one says."""
        found: dict[str, Value] = {}
        for offload, value in wish.values.items():
            try:
                names = self._nics.features(wish.target.name, offload)
            except TuningError as error:
                self._cannot("set", wish.target, {offload}, error)
                continue
            found |= dict.fromkeys(names, value)
        return found

    def _fulfil(self, wish: Wish) -> None:
        target = wish.target
        try:
            present = self._read(target)
        except TuningError as error:
            self._cannot("set", target, set(wish.values), error)
            return
        values = {
            key: value
            for key, value in wish.values.items()
            if present[key] != value and not self._is_as_near(target, key, present[key], value)
        }
        self._confirm(target, {key: present[key] for key in wish.values.keys() - values.keys()})
        if not values:
            return
        if target.index in self._guarded and resets(target, set(values)):
            reason = f"that may take down the link of the default route; {_NEEDS_LEAVE}"
            self._cannot("set", target, set(values), TuningError(reason))
            return
        self._change("set", target, present, values)

    def _is_as_near(self, target: Target, key: str, present: Value, asked: Value) -> bool:
        """Whether the driver has made this of what is asked before: it would again."""
        known = self._record.get(target, key)
        return known is not None and (known.ours, known.asked) == (present, asked)

    def _confirm(self, target: Target, present: Mapping[str, Value]) -> None:
        """These are as they are asked for, but a kill came before that was noted."""
        unknown = {
            key: value
            for key, value in present.items()
            if (known := self._record.get(target, key)) and known.ours is None
        }
        if unknown:
            self._record.settle(target, unknown, unknown)

    def _change(
        self, verb: str, target: Target, present: Mapping[str, Value], values: Mapping[str, Value]
    ) -> None:
        """Write values that differ from the present ones; together, else each by itself."""
        self._record.remember(target, {key: present[key] for key in values})
        reason: TuningError | None = None
        try:
            self._write(target, values)
        except TuningError as error:
            reason = error
        try:
            after = self._read(target)
        except TuningError as error:
            self._cannot(verb, target, set(values), error)
            return
        self._record.settle(target, {key: after[key] for key in values}, values)
        stuck = {key: value for key, value in values.items() if after[key] == present[key]}
        if len(values) > 1:
            for key, value in stuck.items():
                self._change(verb, target, after, {key: value})
        elif stuck:
            reason = reason or TuningError("its driver leaves it as it is")
            self._cannot(verb, target, set(stuck), reason)
        for key in [key for key in values if key not in stuck]:
            before, now = (shown(target, key, one[key]) for one in (present, after))
            near = "" if after[key] == values[key] else f", the nearest to {values[key]} there is"
            note = "; many drivers reset the link for that" if resets(target, {key}) else ""
            self._say(target, key, f"{before} -> {now}{near}{note}")

    def _restore(self, wanted: Callable[[Target, str], bool], *, careful: bool) -> None:
        """Put these back, the last change first; `careful`: where no link may be reset, nothing."""
        groups: dict[tuple[str, str | int], tuple[Target, dict[str, Value]]] = {}
        for memory in reversed(tuple(self._record)):
            if wanted(memory.target, memory.key):
                name = self._names.get(memory.target.index, memory.target.name)
                group = groups.setdefault(
                    memory.target.identity, (replace(memory.target, name=name), {})
                )
                group[1][memory.key] = memory.old
        for target, values in groups.values():
            self._put_back(target, values, careful=careful)

    def _put_back(self, target: Target, values: dict[str, Value], *, careful: bool) -> None:
        try:
            present = self._read(target)
        except TuningError as error:
            self._cannot("restore", target, set(values), error)
            return
        differing = {}
        lacking = values.keys() - present.keys()
        if lacking:
            self._cannot("restore", target, lacking, TuningError(_LACKING))
        for key in [key for key in values if key in present]:
            old = values[key]
            known = self._record.get(target, key)
            if present[key] == old:
                self._record.forget(target, {key})
            elif known is not None and known.ours not in (None, present[key]):
                now = shown(target, key, present[key])
                self._say(target, key, f"is {now}, which capd has not set: it stays")
                self._record.forget(target, {key})
            else:
                differing[key] = old
        if not differing:
            return
        if careful and target.index in self._guarded and resets(target, set(differing)):
            reason = f"that may take down the link of the default route; {_NEEDS_LEAVE}"
            self._cannot("restore", target, set(differing), TuningError(reason))
        else:
            self._change("restore", target, present, differing)

    def _is_there(self, target: Target) -> bool:
        """An interface, or a sysctl, as those of an interface go with it."""
        if target.kind == "sysctl":
            return sysctl.exists(target.name)
        return target.index in self._names

    def _read(self, target: Target) -> dict[str, Value]:
        if target.kind == "sysctl":
            return {"": sysctl.read(target.name)}
        return {**self._nics.read(target.kind, target.name)}

    def _most(self, target: Target) -> Mapping[str, int]:
        return {} if target.kind == "sysctl" else self._nics.most(target.kind, target.name)

    def _write(self, target: Target, values: Mapping[str, Value]) -> None:
        if target.kind == "sysctl":
            sysctl.write(target.name, str(values[""]))
        else:
            numbers = {key: int(value) for key, value in values.items()}
            self._nics.write(target.kind, target.name, numbers)

    def _say(self, target: Target, key: str, text: str) -> None:
        self.account.done.append(f"{label(target, key)}: {text}")

    def _cannot(self, verb: str, target: Target, keys: set[str], reason: TuningError) -> None:
        what = f"{target.title} {', '.join(sorted(keys))}".rstrip()
        self.account.troubles.append(f"cannot {verb} {what}: {reason}")
