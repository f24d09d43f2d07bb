"""capd.toml(5) against the schema: no table, key, default or bound may differ."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest

from capd.catalog import Catalog
from capd.cli.common import DEFAULT_CONFIG
from capd.config import Capture, Config
from capd.config_problems import _tables
from capd.config_tuning import Channels, Coalesce, InterfaceTuning
from capd.config_values import DEFAULT_ROUTE
from capd.daemon.alerts import Alarm
from capd.daemon.handover import Task
from capd.daemon.herald import facts_of
from capd.daemon.waybill import facts_of as facts_of_segment
from capd.delivery.facts import environment
from capd.losses import Loss
from capd.names import SegmentName
from capd.spool import SEGMENT_CLOSED, Event
from capd.units import DURATIONS, MAX, SIZES, format_duration, format_size
from tests.support.laying import NOON, lay
from tests.support.mdoc import Item, items, sections, subsections
from tests.support.roots import CHECKOUT

KEYS = sections(CHECKOUT / "packaging" / "man" / "capd.toml.5")
UNSET = (Coalesce(), Channels(), InterfaceTuning())


def test_file() -> None:
    assert f".Pa {DEFAULT_CONFIG}" in KEYS["SYNOPSIS"]


def test_facts_of_an_alert() -> None:
    alarm = Alarm(Loss("v0", "ring", 1, 2, 3, "why"), over=False)
    facts = {"interface": "v0"} | facts_of(alarm)
    known = environment(Event("alert", 1, "text", facts))
    alert = subsections(KEYS["ENVIRONMENT"])[""]
    shown = {item.head.removeprefix("Ev "): item.text for item in items(alert)}
    assert set(shown) == set(known)
    over = environment(Event("all-clear", 1, "text", facts_of(alarm._replace(over=True))))
    lacking = {name for name, text in shown.items() if "not with an all-clear" in text}
    assert set(known) - set(over) - {"CAPD_INTERFACE"} == lacking


def test_facts_of_a_segment(tmp_path: Path) -> None:
    """Those of one that can be read, and of one that cannot."""
    shown = {
        item.head.removeprefix("Ev ") for item in items(subsections(KEYS["ENVIRONMENT"])["[hook]"])
    }
    names = [SegmentName("v0", NOON, seq) for seq in (1, 2)]
    for name, last in zip(names, (NOON, None), strict=True):
        lay(tmp_path, name, last)
    known = []
    for segment in Catalog(str(tmp_path)).scan()["v0"].segments:
        facts = facts_of_segment(Task(str(tmp_path), segment))
        assert facts is not None
        known.append(set(environment(Event(SEGMENT_CLOSED, 1, "text", facts))))
    assert known == [shown, shown - {"CAPD_LAST", "CAPD_PACKETS"}]


@cache
def tables() -> dict[str, list[Item]]:
    """The page's items, by table."""
    parts = subsections(KEYS["TABLES"])
    return {title.strip("[]"): items(lines) for title, lines in parts.items() if title}


def schema() -> Iterator[tuple[str, str, Any]]:
    """Every key: its table, its name, its field; what [[interface]] shares with others left out."""
    for place, fields in _tables(Config):
        if not place or place == ("interface", "tuning") or place[:2] == ("interface", "tuning"):
            continue
        for key, field in fields.items():
            if place == ("interface",) and key in Capture.model_fields:
                continue
            yield place[0], key, field


def test_every_key_is_there() -> None:
    known: dict[str, list[str]] = {}
    for table, key, _ in schema():
        known.setdefault(table, []).append(key)
    assert {table: sorted(keys) for table, keys in known.items()} == {
        table: sorted(name(item) for item in found if is_key(item))
        for table, found in tables().items()
    }
    (tuning,) = (item for item in tables()["interface"] if name(item) == "tuning")
    assert set(re.findall(r"(?m)^\.Cm (\w+)", "\n".join(tuning.lines))) == set(
        InterfaceTuning.model_fields
    )
    assert ".Cm [capture] ," in subsections(KEYS["TABLES"])["[[interface]]"]


def is_key(item: Item) -> bool:
    return item.head.startswith("Cm ")


def name(item: Item) -> str:
    return item.head.split()[1]


def value(item: Item) -> str:
    """`Ar kind`, or a default as TOML has it."""
    text = item.head.partition(" No = ")[2]
    quoted = re.fullmatch(r"Qq (.*)", text)
    return f'"{quoted[1].removesuffix(chr(92) + "&")}"' if quoted else text


def entry(table: str, key: str) -> Item:
    (found,) = (item for item in tables()[table] if is_key(item) and name(item) == key)
    return found


@pytest.mark.parametrize(("table", "key", "field"), list(schema()))
def test_key(table: str, key: str, field: Any) -> None:
    """Its default as the schema has it, and its bounds."""
    item = entry(table, key)
    shown = value(item)
    default = None if field.is_required() else field.default
    if shown.startswith("Ar "):
        assert default in (None, (), *UNSET)
    else:
        required = {"directory": "/archive"} if table == "archive" else {}
        given = tomllib.loads(f"x = {shown}")["x"]
        document = {table: required | {key: given}, "interface": [{"name": DEFAULT_ROUTE}]}
        assert getattr(getattr(Config.model_validate(document), table), key) == default
    kinds = {format_size: "Ar size", format_duration: "Ar duration"}
    if shown in kinds.values():
        assert bounds(field)
    for words, least, most in bounds(field):
        if shown.startswith("Ar "):
            assert shown == kinds[words]
        if table != "archive":  # "As in [storage]"
            for bound in ([least] if least > 1 else []) + ([most] if most < MAX else []):
                assert re.search(rf"(?<![\d.]){re.escape(words(bound))}\b", item.text), (
                    bound,
                    item,
                )
    for constraint in constraints(field):
        if hasattr(constraint, "le"):
            assert re.search(rf"\b{constraint.le}\b", item.text), item


def bounds(field: Any) -> list[tuple[Any, int, int]]:
    """How a size or a time is shown, its least and its most; [] for other kinds."""
    found: list[tuple[Any, int, int]] = []
    for one in constraints(field):
        match getattr(getattr(one, "func", None), "args", ()):
            case (_, words, least, most):
                found.append((words, least, most))
    return found


def constraints(field: Any) -> list[Any]:
    """Of a field and, where it may be left out, of what it is then."""
    found = list(field.metadata)
    for kind in get_args(field.annotation):
        for one in getattr(kind, "__metadata__", ()):
            found += getattr(one, "metadata", [one])
    return found


def test_units() -> None:
    described = {item.head: item.text for item in items(KEYS["DESCRIPTION"])}
    assert ", ".join(SIZES) in described["Ar size"]
    assert ", ".join(DURATIONS) in described["Ar duration"]
