"""The command line as argparse has it: every word with its options."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache

from capd import cli

HELP = {"-h", "--help"}


@cache
def words() -> dict[str, argparse.ArgumentParser]:
    """The parser of every word, `tune show` among them; "" is the command itself."""
    return dict(_below("", cli._parser()))


def _below(
    path: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    yield path, parser
    for word, below in branches(parser).items():
        yield from _below(f"{path} {word}".strip(), below)


def branches(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The words that may follow; {} where none does."""
    return next(
        (one.choices for one in parser._actions if isinstance(one, argparse._SubParsersAction)), {}
    )


def leaves() -> dict[str, argparse.ArgumentParser]:
    """The words that do something."""
    return {path: parser for path, parser in words().items() if not branches(parser)}


def options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """By their spellings, -h among them."""
    return parser._option_string_actions
