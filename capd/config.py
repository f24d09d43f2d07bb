"""The config file's schema: its keys, their defaults and bounds, and loading it.

It asks the machine nothing: whether an interface exists, a filter compiles or a directory
can be written to is for `check` and the daemon to find out.  The kinds of value are in
`config_values`, the words for what is wrong in `config_problems`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    ValidationError,
)

from capd.config_problems import NO_INTERFACE, describe, read
from capd.config_tuning import InterfaceTuning, Tuning
from capd.config_values import (
    Command,
    Directory,
    InterfaceName,
    Listen,
    Table,
    duration,
    name_kind,
    size,
)
from capd.errors import ConfigError
from capd.filter import Direction
from capd.pcapng import SNAPLEN
from capd.ring import MAX_BLOCK, MIN_RING
from capd.units import (
    DURATIONS,
    SECOND,
    SIZES,
    format_duration,
    parse_duration,
    parse_share,
    shown,
)

_MILLISECOND = DURATIONS["ms"]

Processor = Annotated[int, Field(ge=0, lt=8192)]  # CONFIG_NR_CPUS is no more, on any machine


def _some(interfaces: tuple[Interface, ...]) -> tuple[Interface, ...]:
    if not interfaces:
        raise ValueError(NO_INTERFACE)
    return interfaces


class Retention(Table):
    """Of a directory: whether it may be on the root disk, and what is kept in it."""

    directory: Directory
    require_mount: bool = False
    max_usage: Annotated[float, BeforeValidator(parse_share)] = 0.95
    min_free: Annotated[int, size(0)] | None = None
    max_size: Annotated[int, size(1)] | None = None
    max_files: Annotated[int, Field(ge=1)] | None = None
    max_age: Annotated[int, duration(SECOND)] | None = None


class Storage(Retention):
    """[storage]: where segments go, and what is kept of them."""

    directory: Directory = "/var/lib/capd"
    sync_interval: Annotated[int, duration(100 * _MILLISECOND)] = 5 * SECOND


class Archive(Retention):
    """[archive]: a second, slower place, to which finished segments move."""


class Compression(Table):
    """[compression]: of finished segments."""

    enabled: bool = False
    level: Annotated[int, Field(ge=1, le=19)] = 3
    # None: one for two processors
    threads: Annotated[int, Field(ge=1, le=64)] | None = None
    section_size: Annotated[int, size(SIZES["MiB"], 64 * SIZES["MiB"])] = 4 * SIZES["MiB"]


class Monitor(Table):
    """[monitor]: how often the counters of interfaces and of the kernel's backlog are read."""

    interval: Annotated[int, duration(100 * _MILLISECOND, 60 * SECOND)] = SECOND


class Alert(Table):
    """[alert]: how much loss somebody is to be told of, and by which program."""

    packets: Annotated[int, Field(ge=1)] = 1
    per: Annotated[int, duration(SECOND, DURATIONS["d"])] = DURATIONS["min"]
    command: Command | None = None
    timeout: Annotated[int, duration(SECOND, DURATIONS["h"])] = 30 * SECOND


class Hook(Table):
    """[hook]: the program that is run for each finished segment."""

    segment_closed: Command | None = None
    timeout: Annotated[int, duration(SECOND, DURATIONS["d"])] = 10 * DURATIONS["min"]
    parallel: Annotated[int, Field(ge=1, le=64)] = 1
    keep_until_done: bool = False


class Metrics(Table):
    """[metrics]: where Prometheus finds them; nowhere by default."""

    listen: Listen | None = None


class Capture(Table):
    """[capture]: how an interface is recorded, unless its own table says otherwise."""

    filter: str = ""
    direction: Direction = "both"
    snaplen: Annotated[int, size(1, SNAPLEN)] = SNAPLEN
    promiscuous: bool = True
    # None: chosen from the link's speed
    ring_size: Annotated[int, size(MIN_RING, 64 * SIZES["GiB"])] | None = None
    flush_interval: Annotated[int, duration(10 * _MILLISECOND, 60 * SECOND)] = 500 * _MILLISECOND
    rotate_size: Annotated[int, size(2 * MAX_BLOCK)] = SIZES["GiB"]
    rotate_interval: Annotated[int, duration(SECOND)] = DURATIONS["h"]
    record_direction: bool = False


class Interface(Capture):
    """[[interface]]: one or several interfaces, and what differs from [capture] for them."""

    name: InterfaceName
    max_age: Annotated[int, duration(SECOND)] | None = None
    max_size: Annotated[int, size(1)] | None = None
    # TOML has lists only; `strict` would want a tuple.  None: any processor
    cpus: Annotated[tuple[Processor, ...], Field(strict=False, min_length=1)] | None = None
    tuning: InterfaceTuning = InterfaceTuning()

    @property
    def name_kind(self) -> Literal["exact", "pattern", "default"]:
        """What the name is."""
        return name_kind(self.name)


class Config(Table):
    """One config file, whole and valid."""

    storage: Storage = Storage()
    archive: Archive | None = None
    compression: Compression = Compression()
    capture: Capture = Capture()
    monitor: Monitor = Monitor()
    alert: Alert = Alert()
    hook: Hook = Hook()
    metrics: Metrics = Metrics()
    tuning: Tuning = Tuning()
    # TOML has lists only; `strict` would want a tuple.
    interface: Annotated[tuple[Interface, ...], Field(strict=False), AfterValidator(_some)]

    @property
    def directories(self) -> tuple[str, ...]:
        """Where segments are."""
        second = () if self.archive is None else (self.archive.directory,)
        return (self.storage.directory, *second)

    def settings(self, interface: Interface) -> Capture:
        """How this interface is recorded: its own keys, else those of [capture]."""
        own = interface.model_fields_set & Capture.model_fields.keys()
        return self.capture.model_copy(update={key: getattr(interface, key) for key in own})

    def tuned(self, interface: Interface) -> InterfaceTuning:
        """What its NIC is set to: the keys of its own [tuning] table, else those of [tuning]."""
        own, keys = interface.tuning, InterfaceTuning.model_fields.keys()
        update = {key: getattr(self.tuning, key) for key in keys - own.model_fields_set}
        return own.model_copy(update=update)


def without_effect(config: Config) -> Iterator[str]:
    """Keys that are set for something that is not."""
    switches = (
        ("compression", config.compression, "enabled", "enabled = true"),
        ("hook", config.hook, "segment_closed", "segment_closed"),
    )
    for name, table, switch, needed in switches:
        for key in sorted(table.model_fields_set):
            if switch not in table.model_fields_set:
                yield f"{name}.{key}: has no effect without {needed}"
    if "timeout" in config.alert.model_fields_set and config.alert.command is None:
        yield "alert.timeout: has no effect without command"


def load(path: str) -> Config:
    """The config in this file; ConfigError lists everything that is wrong with it."""
    document = read(path)
    problems = list(dict.fromkeys(_contradictions(document)))
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        problems = [describe(detail, Config) for detail in error.errors()] + problems
    if problems:
        raise ConfigError(tuple(f"{path}: {problem}" for problem in problems))
    return config


def _contradictions(document: dict[str, Any]) -> Iterator[str]:
    """What no key is wrong about alone; found whatever else is wrong with the document."""
    yield from _nested_directories(document)
    shared = document.get("capture")
    tables = document.get("interface")
    first: dict[str, int] = {}
    for index, table in enumerate(tables if isinstance(tables, list) else ()):
        if not isinstance(table, dict):
            continue
        name = table.get("name")
        if isinstance(name, str) and first.setdefault(name, index) != index:
            yield f"interface[{index}].name: interface[{first[name]}] is called {shown(name)} too"
        settings = shared | table if isinstance(shared, dict) else table
        flush = _interval(settings, "flush_interval")
        rotate = _interval(settings, "rotate_interval")
        if flush is not None and rotate is not None and flush > rotate:
            own = {"flush_interval", "rotate_interval"} & table.keys()
            where = f"interface[{index}]" if own else "capture"
            yield (
                f"{where}.flush_interval: {format_duration(flush)} is longer than "
                f"rotate_interval, {format_duration(rotate)}: a segment would end late"
            )


def _nested_directories(document: dict[str, Any]) -> Iterator[str]:
    """Each place has rules of its own, so none may lie in the other."""
    tables = [document.get(name) for name in ("storage", "archive")]
    if not isinstance(tables[1], dict):
        return
    default = Storage.model_fields["directory"].default
    paths = [
        table.get("directory", default) if isinstance(table, dict) else default for table in tables
    ]
    if all(isinstance(path, str) and path.startswith("/") for path in paths):
        first, second = (posixpath.normpath(path) for path in paths)
        if posixpath.commonpath([first, second]) in (first, second):
            yield f"archive.directory: {shown(second)} and storage.directory lie in each other"


def _interval(settings: dict[str, Any], key: str) -> int | None:
    """A duration among unchecked settings; None if it is not one."""
    if key not in settings:
        default: int = Capture.model_fields[key].default
        return default
    try:
        return parse_duration(settings[key])
    except ValueError:
        return None
