"""The kinds of value in a config file, each with its bounds and the words for what is refused.

Sizes come out as bytes, durations as nanoseconds, shares above 0 and up to 1.
"""

from __future__ import annotations

import ipaddress
import posixpath
from collections.abc import Callable
from functools import partial
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from capd.units import (
    MAX,
    format_duration,
    format_size,
    parse_duration,
    parse_size,
    shown,
)

DEFAULT_ROUTE = "@default"  # the name that means the interface of the default route

_NAME_BYTES = 15  # IFNAMSIZ - 1, <linux/if.h>
_NAME_SPACES = b"\t\n\v\f\r \xa0"  # what the kernel calls a space (lib/ctype.c)
_PATTERN_LENGTH = 64


class Table(BaseModel):
    """A table of the config: of the types that it names, with no other key, and frozen."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


def _bounded(
    parse: Callable[[object], int],
    words: Callable[[int], str],
    least: int,
    most: int,
    value: object,
) -> int:
    number = parse(value)
    if number < least:
        raise ValueError(f"{shown(value)} is less than {words(least)}, the least allowed")
    if number > most:
        raise ValueError(f"{shown(value)} is more than {words(most)}, the most allowed")
    return number


def size(least: int, most: int = MAX) -> BeforeValidator:
    """A size such as "256MiB", within these bounds (bytes)."""
    return BeforeValidator(partial(_bounded, parse_size, format_size, least, most))


def duration(least: int, most: int = MAX) -> BeforeValidator:
    """A time such as "1h", within these bounds (ns)."""
    return BeforeValidator(partial(_bounded, parse_duration, format_duration, least, most))


def _directory(path: str) -> str:
    if not path.isprintable():
        raise ValueError(f"{shown(path)} has a character that cannot be printed")
    if not path.startswith("/") or ".." in path.split("/") or not path.strip("/"):
        raise ValueError(f'{shown(path)} is not an absolute path such as "/var/lib/capd"')
    return posixpath.normpath("/" + path.lstrip("/"))


def name_kind(name: str) -> Literal["exact", "pattern", "default"]:
    """What an [[interface]]'s name is: an interface's own, an fnmatch pattern or `@default`."""
    if name == DEFAULT_ROUTE:
        return "default"
    return "pattern" if any(character in name for character in "*?[") else "exact"


def _interface_name(name: str) -> str:
    kind = name_kind(name)
    encoded = name.encode()
    if kind == "exact" and len(encoded) > _NAME_BYTES:
        raise ValueError(f"{shown(name)} is longer than {_NAME_BYTES} bytes: no interface can be")
    if kind == "exact" and name.startswith("@"):
        raise ValueError(f'{shown(name)} is not "{DEFAULT_ROUTE}", the only name with a meaning')
    if name in ("", ".", "..") or len(name) > _PATTERN_LENGTH:
        raise ValueError(f"{shown(name)} is not the name of an interface, nor a pattern")
    if any(byte in _NAME_SPACES for byte in encoded):
        raise ValueError(f"{shown(name)} has a space in it: write one [[interface]] for each")
    if "/" in name or ":" in name or not name.isprintable():
        raise ValueError(f"{shown(name)} has a character that no interface's name has")
    return name


def _listen_address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f'{shown(text)} is not an address and a port such as "127.0.0.1:9917"')
    try:
        ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError(f"{shown(host)} is not an IP address; 0.0.0.0 is every one") from None
    if (":" in host) != host.startswith("[") or host.startswith("[") != host.endswith("]"):
        raise ValueError(f'{shown(text)}: write an IPv6 address in brackets, "[::1]:{port}"')
    return text


def _command(words: tuple[str, ...]) -> tuple[str, ...]:
    if not words:
        raise ValueError("is empty: give the program and its arguments, or leave the key out")
    if not words[0].startswith("/"):
        first = words[0].partition(" ")[0]  # and not what may be a whole command, with a password
        raise ValueError(f'{shown(first)} is not an absolute path such as "/usr/bin/mail"')
    if any("\0" in word for word in words):
        raise ValueError("has a NUL byte in it")
    return words


Directory = Annotated[str, AfterValidator(_directory)]
InterfaceName = Annotated[str, AfterValidator(_interface_name)]
Listen = Annotated[str, AfterValidator(_listen_address)]
# TOML has lists only; `strict` would want a tuple.
Command = Annotated[tuple[str, ...], Field(strict=False), AfterValidator(_command)]
