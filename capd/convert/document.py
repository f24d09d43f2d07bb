"""A plan as capd.toml: nothing in it that is the default, and where each key comes from."""

from __future__ import annotations

import json
from collections.abc import Iterator

from capd.convert.plan import Plan, Recording, Setting
from capd.units import printable

_WIDTH = 98
_ALIGNED = 40  # longer lines do not push the comments of the others away


def document(plan: Plan, words: str) -> str:
    """The text of the file; `words`: the line that it comes from."""
    shared = _shared(plan.recordings)
    lines = [f"# From: {_cut(words, _WIDTH - 8)}", "# capd check says what it comes to here.", ""]
    tables = {"storage": plan.storage, "capture": shared, "compression": plan.compression}
    for name, table in tables.items():
        if table:
            lines += [f"[{name}]", *_keys(table), ""]
    for recording in plan.recordings:
        own = {key: each for key, each in recording.settings.items() if key not in shared}
        lines += ["[[interface]]", *_keys({"name": recording.name} | own), ""]
    return "\n".join(lines[:-1])


def _shared(recordings: list[Recording]) -> dict[str, Setting]:
    """What holds for all interfaces alike, and may stand in [capture]."""
    first = recordings[0].settings
    return {
        key: setting
        for key, setting in first.items()
        if key not in ("cpus", "max_size", "max_age")
        and all(setting.value == _value(recording, key) for recording in recordings)
    }


def _value(recording: Recording, key: str) -> object:
    setting = recording.settings.get(key)
    return None if setting is None else setting.value


def _keys(table: dict[str, Setting]) -> Iterator[str]:
    lines = {key: f"{key} = {_toml(setting.value)}" for key, setting in table.items()}
    width = max((len(line) for line in lines.values() if len(line) <= _ALIGNED), default=0)
    for key, line in lines.items():
        origin = _cut(table[key].origin, max(_WIDTH - max(len(line), width) - 4, 24))
        yield f"{line.ljust(width)}  # {origin}"


def _toml(value: object) -> str:
    """JSON's strings, numbers and lists are TOML's too, of what can be printed."""
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str, width: int) -> str:
    shown = printable(text)
    return shown if len(shown) <= width else f"{shown[: width - 3]}..."
