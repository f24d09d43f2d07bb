"""What must hold before capd captures: every problem of a config, found in one go.

`capd check` lists them and `capd run` does not start over them: the same words, the same
exit code.  Nothing is changed; a capture directory that is made to try it is removed again.
"""

from __future__ import annotations

import asyncio
import copy
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from capd import ring
from capd.config import Config, load
from capd.config_problems import read
from capd.config_values import DEFAULT_ROUTE
from capd.daemon import links, plans
from capd.daemon.directory import check_directory
from capd.errors import CompilerError, ConfigError, StorageError
from capd.runtime import RuntimeDirectory
from capd.status import read as read_status
from capd.status import staleness


class Trial(Protocol):
    """Tries whether captures can be written to a directory; StorageError when not."""

    def __call__(self, path: str, *, require_mount: bool) -> None: ...


@dataclass(frozen=True)
class Usable:
    """A config without a problem, and what it comes to on this machine now."""

    config: Config
    present: links.Links
    resolved: plans.Resolved


def examine(path: str, held: int = 0, trial: Trial | None = None) -> Usable:
    """The config in this file; ConfigError lists what is wrong with it and with what it names.

    `held`: bytes of memory that rings have now, and give back for those of this config.
    `trial`: of the directory in the config, instead of one from here.
    """
    trial = trial or _try_here
    try:
        config = load(path)
    except ConfigError as error:
        rest = remains(path)
        found = list(_stated_problems(rest, trial)) if rest is not None else []
        passing = error.passing and not found
        problems = (*error.problems, *_located(path, found))
        raise ConfigError(problems, passing=passing) from error
    try:
        present = asyncio.run(links.look())
        resolved = plans.resolve(config, present)
        if resolved.passing:
            raise CompilerError(next(iter(resolved.unfit.values())))
        found = list(_problems(config, present, resolved))
    except CompilerError as error:
        raise ConfigError(_located(path, [str(error)]), passing=True) from error
    except OSError as error:
        reason = f"cannot look at the interfaces: {error.strerror or error}"
        raise ConfigError(_located(path, [reason]), passing=True) from error
    needs = [*_memory_problems(resolved, held), *_directory_problems(config, trial)]
    if found or needs:
        raise ConfigError(_located(path, [*found, *needs]), passing=not found)
    return Usable(config, present, resolved)


def _located(path: str, problems: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{path}: {problem}" for problem in problems)


def _problems(config: Config, present: links.Links, resolved: plans.Resolved) -> Iterator[str]:
    yield from plans.filter_problems(config)
    for choice in links.choose(config, present):
        # What a pattern or @default finds is not the config's fault: that is a warning.
        name = choice.link.name if choice.link else ""
        wrong = plans.unusable_filter(config.settings(choice.interface))
        if choice.interface.name_kind == "exact" and name in resolved.refused and not wrong:
            yield f"{name}: cannot capture: {resolved.refused[name]}"


def _memory_problems(resolved: plans.Resolved, held: int) -> Iterator[str]:
    sizes = [wanted.plan.geometry.size for wanted in resolved.rings.values()]
    memory = plans.memory_problem(sizes, ring.available_memory() + held)
    if memory is not None:
        yield memory


def memory_in_rings() -> int:
    """Bytes that the rings of the capd that runs have, and give back when it reloads."""
    try:
        status = read_status(RuntimeDirectory().status)
    except StorageError:  # none runs, or whoever asks may not know
        return 0
    if staleness(status, time.time_ns()) is not None:
        return 0
    return sum(one.ring_bytes for one in status.rings)


def _try_here(path: str, *, require_mount: bool) -> None:
    check_directory(path, require_mount=require_mount, keep=False)


def _directory_problems(config: Config, trial: Trial) -> Iterator[str]:
    storage = config.storage
    try:
        trial(storage.directory, require_mount=storage.require_mount)
    except StorageError as error:
        yield from (f"storage.directory: {each}" for each in reasons(error))


def reasons(error: StorageError) -> list[str]:
    """Each by itself; a line that begins with a space belongs to the one before."""
    return re.split(r"\n(?! )", str(error))


def _stated_problems(config: Config, trial: Trial) -> Iterator[str]:
    """What can be known of a config that has lost its faulty keys: nothing about defaults."""
    try:
        yield from plans.filter_problems(config)
    except CompilerError as error:
        yield str(error)
    if "directory" in config.storage.model_fields_set:
        yield from _directory_problems(config, trial)


def remains(path: str) -> Config | None:
    """What is left of the config in this file without what its schema refuses."""
    try:
        document = read(path)
    except ConfigError:
        return None
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        locations = [detail["loc"] for detail in error.errors()]
    try:
        return Config.model_validate(_pruned(document, locations))
    except ValidationError:
        return None


def _pruned(document: dict[str, Any], locations: Iterable[tuple[int | str, ...]]) -> dict[str, Any]:
    """The document without what is at these places; an [[interface]] keeps its number."""
    rest = copy.deepcopy(document)
    for location in locations:
        match location:
            case ("interface", int(index), "name"):
                rest["interface"][index]["name"] = DEFAULT_ROUTE
            case ("interface", int(index), str(key), *_):
                rest["interface"][index].pop(key, None)
            case ("interface", int(index)):
                rest["interface"][index] = {"name": DEFAULT_ROUTE}
            case ("interface", *_):
                rest["interface"] = [{"name": DEFAULT_ROUTE}]
            case (str(table), str(key), *_):
                rest[table].pop(key, None)
            case (str(table), *_):
                rest.pop(table, None)
    return rest
