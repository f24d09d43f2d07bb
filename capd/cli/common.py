"""What the words have in common: saying something, and the config that is meant."""

from __future__ import annotations

import argparse
import os
import sys

from capd.errors import StorageError

DEFAULT_CONFIG = "/etc/capd.toml"

Words = argparse._SubParsersAction  # noqa: SLF001  it has no other name


def say(text: str) -> None:
    """Print, and be sure of it."""
    try:
        print(text, flush=True)
    except BrokenPipeError:  # `| head` has seen enough
        _discard_output()
    except OSError as error:
        _discard_output()
        raise StorageError(f"cannot write what there is to say: {error.strerror}") from error


def _discard_output() -> None:
    """Let what is still buffered go nowhere, instead of failing once more at the exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def complete(troubles: list[str]) -> int:
    """The exit code of an answer in which this is missing."""
    for trouble in troubles:
        print(f"incomplete: {trouble}", file=sys.stderr)
    return 3 if troubles else 0


def add_config(parser: argparse._ActionsContainer) -> None:
    """--config F."""
    parser.add_argument("--config", metavar="F", help=f"default {DEFAULT_CONFIG}")


def config_of(options: argparse.Namespace) -> str:
    """The config file that is meant."""
    return options.config or DEFAULT_CONFIG
