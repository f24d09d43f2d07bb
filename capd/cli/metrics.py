"""The word `metrics`: a service beside the daemon."""

from __future__ import annotations

import argparse

from capd.cli.common import Words, add_config, config_of, say


def add(words: Words[argparse.ArgumentParser]) -> None:
    """Add it to the command line."""
    metrics = words.add_parser("metrics", help="serve what is counted to Prometheus, until SIGTERM")
    add_config(metrics)
    metrics.set_defaults(command=_metrics)


def _metrics(options: argparse.Namespace) -> int:
    from capd.config import load
    from capd.runtime import RuntimeDirectory

    path = config_of(options)
    listen = load(path).metrics.listen
    if listen is None:
        say(f"{path}: metrics.listen is not set, so there is nothing to serve")
        return 0
    from capd.metrics.server import serve

    serve(listen, RuntimeDirectory().status)
    return 0
