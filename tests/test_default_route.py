"""Which interface is the default while the route does not hold still."""

from __future__ import annotations

from capd.daemon.default_route import DAMPING, DefaultRoute
from capd.daemon.links import Link, Links

ETHERNET = 1


def links(default: str | None, *names: str, down: str = "") -> Links:
    return Links(
        {
            name: Link(name, number, ETHERNET, carrier=name != down)
            for number, name in enumerate(names)
        },
        default,
    )


def test_the_first_one_is_believed_at_once() -> None:
    found, wait = DefaultRoute(None).settle(links("a", "a", "b"), 0.0)
    assert (found.default, wait) == ("a", None)


def test_another_one_must_last() -> None:
    route = DefaultRoute("a")
    found, wait = route.settle(links("b", "a", "b"), 100.0)
    assert (found.default, wait) == ("a", DAMPING)
    found, wait = route.settle(links("b", "a", "b"), 104.0)
    assert (found.default, wait) == ("a", DAMPING - 4)
    found, wait = route.settle(links("b", "a", "b"), 100.0 + DAMPING)
    assert (found.default, wait) == ("b", None)


def test_one_that_hops_changes_nothing() -> None:
    route = DefaultRoute("a")
    for now in range(60):
        found, _ = route.settle(links("ab"[now // 3 % 2], "a", "b"), float(now))
        assert found.default == "a"


def test_no_route_keeps_the_one_before() -> None:
    route = DefaultRoute("a")
    for now in (0.0, 100.0, 1000.0):
        found, wait = route.settle(links(None, "a", "b"), now)
        assert (found.default, wait) == ("a", None)


def test_a_link_that_is_gone_or_dead_is_not_waited_for() -> None:
    found, wait = DefaultRoute("a").settle(links("b", "b"), 0.0)
    assert (found.default, wait) == ("b", None)
    found, wait = DefaultRoute("a").settle(links("b", "a", "b", down="a"), 0.0)
    assert (found.default, wait) == ("b", None)
    found, wait = DefaultRoute("a").settle(links(None, "a", down="a"), 0.0)
    assert (found.default, wait) == ("a", None)
    found, wait = DefaultRoute("a").settle(links(None, "b"), 0.0)
    assert (found.default, wait) == (None, None)
