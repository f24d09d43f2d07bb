"""When a ring can go on for another plan, and what is said of the difference."""

from __future__ import annotations

from typing import Any

from capd.daemon import changes, ringplan
from capd.ring import Geometry
from tests.test_keepsake import KEPT

PLAN = KEPT.wanted


def _with(**fields: Any) -> ringplan.RingPlan:
    """The plan with other fields: of its source, of its plan, or its own."""
    wanted = PLAN
    for key, value in fields.items():
        if hasattr(wanted.plan.source, key):
            source = wanted.plan.source._replace(**{key: value})
            wanted = wanted._replace(plan=wanted.plan._replace(source=source))
        elif hasattr(wanted.plan, key):
            wanted = wanted._replace(plan=wanted.plan._replace(**{key: value}))
        else:
            wanted = wanted._replace(**{key: value})
    return wanted


def test_the_time_of_a_filter_is_no_difference() -> None:
    assert PLAN.equals(PLAN.since(123))
    assert not PLAN.equals(_with(filter="port 81").since(123))


def test_only_geometry_folder_and_link_take_another_ring() -> None:
    for other in (
        _with(filter="port 81", program=bytes(8)),
        _with(snaplen=96),
        _with(record_direction=False),
        _with(promiscuous=False),
        _with(rotate_size=1, rotate_interval=2, sync_interval=3),
        _with(entry="@default"),
    ):
        assert not other.equals(PLAN)
        assert other.fits(PLAN)
    for other in (
        _with(geometry=Geometry(262144, 32, 50)),
        _with(geometry=Geometry(262144, 16, 60)),
        _with(directory="/elsewhere"),
        _with(link_index=8),
        _with(ring="w0"),
    ):
        assert not other.fits(PLAN)


def test_it_survives_json() -> None:
    assert ringplan.from_fields(ringplan.to_fields(PLAN)) == PLAN


def test_differences_are_told_in_the_words_of_the_config() -> None:
    other = _with(filter="", snaplen=96, geometry=Geometry(262144, 32, 100), promiscuous=False)
    assert list(changes.differences(PLAN, other)) == [
        "filter 'port 80' -> none",
        "snaplen 256 KiB -> 96 B",
        "promiscuous yes -> no",
        "ring_size 4 MiB -> 8 MiB",
        "flush_interval 50 ms -> 100 ms",
    ]
    assert list(changes.differences(PLAN, PLAN.since(5))) == []
