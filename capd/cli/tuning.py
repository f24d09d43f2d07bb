"""The words about tuning: `tune show`, `tune apply`, `tune restore`."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

from capd.cli.common import Words, add_config, complete, config_of, say

if TYPE_CHECKING:
    from capd.config import Config
    from capd.daemon.links import Links
    from capd.tuning.record import Record
    from capd.tuning.targets import Subject
    from capd.tuning.tuner import Account


def add(words: Words[argparse.ArgumentParser]) -> None:
    """Add them to the command line."""
    tune = words.add_parser("tune", help="set the kernel and NICs for capture, and back again")
    verbs = tune.add_subparsers(required=True, metavar="VERB")
    show = verbs.add_parser("show", help="each setting, and what it does for capture here")
    show.set_defaults(command=_show)
    apply = verbs.add_parser("apply", help="set what [tuning] asks for, and remember what was")
    apply.set_defaults(command=_apply)
    restore = verbs.add_parser("restore", help="put back what was there before")
    restore.set_defaults(command=_restore)
    for verb in (show, apply):
        add_config(verb)


def _show(options: argparse.Namespace) -> int:
    from capd.config import load
    from capd.tuning.effects import traits
    from capd.tuning.nic import Nics
    from capd.tuning.record import directory, peek
    from capd.tuning.view import View

    config = load(config_of(options))
    subjects, absent = _subjects(config, _look())
    with Nics() as nics:
        view = View(nics, peek(directory()), config, subjects)
        say("\n".join(view.lines(tuple(traits(subject.name) for subject in subjects))))
    return complete(absent)


def _apply(options: argparse.Namespace) -> int:
    from capd.config import load
    from capd.tuning.nic import Nics
    from capd.tuning.record import directory, opened
    from capd.tuning.targets import wishes
    from capd.tuning.tuner import Tuner

    config = load(config_of(options))
    present = _look()
    subjects, absent = _subjects(config, present)
    with Nics() as nics, opened(directory()) as record:
        guarded = set() if config.tuning.default_route else _under_default_route(present)
        tuner = Tuner(nics, record, _names(present), guarded)
        try:
            tuner.apply(wishes(config, subjects))
        finally:
            _tell(tuner.account, record)
    return complete([*tuner.account.troubles, *absent])


def _restore(_: argparse.Namespace) -> int:
    from capd.tuning.nic import Nics
    from capd.tuning.record import directory, opened
    from capd.tuning.tuner import Tuner

    with Nics() as nics, opened(directory()) as record:
        tuner = Tuner(nics, record, _names(_look()), ())
        try:
            tuner.restore()
        finally:
            _tell(tuner.account, record)
    return complete(tuner.account.troubles)


def _tell(account: Account, record: Record) -> None:
    if record.void:
        say(f"{record.void} old values are of another boot: nothing to put back")
    if account.done or not account.troubles:
        say("\n".join(account.done) or "nothing to change")


def _look() -> Links:
    import asyncio

    from capd.daemon.links import look

    return asyncio.run(look())


def _names(present: Links) -> dict[int, str]:
    return {link.index: link.name for link in present.by_name.values()}


def _subjects(config: Config, present: Links) -> tuple[list[Subject], list[str]]:
    """The interfaces that are captured with their tuning, and words for those that are missing."""
    from capd.config_tuning import InterfaceTuning
    from capd.daemon.links import choose
    from capd.tuning.targets import Subject
    from capd.units import shown

    subjects, absent = [], []
    for choice in choose(config, present):
        tuning = config.tuned(choice.interface)
        if choice.link is not None:
            subjects.append(Subject(choice.link.name, choice.link.index, tuning))
        elif tuning != InterfaceTuning():
            name = shown(choice.interface.name)
            absent.append(f"{name} means no interface now: apply again when it does")
    return subjects, absent


def _under_default_route(present: Links) -> set[int]:
    """The indices of the interface with the default route and of all below it."""
    found: set[int] = set()
    todo = [present.default] if present.default else []
    while todo:
        link = present.by_name.get(todo.pop())
        if link is not None and link.index not in found:
            found.add(link.index)
            todo += _below(link.name)
    return found


def _below(name: str) -> list[str]:
    """The members of a bond or a bridge, what a VLAN is on."""
    try:
        entries = os.listdir(f"/sys/class/net/{name}")
    except OSError:
        return []
    return [entry.removeprefix("lower_") for entry in entries if entry.startswith("lower_")]
