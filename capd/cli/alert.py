"""The words about being told: `alert`, and `exec`, which runs the commands."""

from __future__ import annotations

import argparse

from capd.cli.common import Words, add_config, config_of, say


def add(words: Words[argparse.ArgumentParser]) -> None:
    """Add them to the command line."""
    alert = words.add_parser("alert", help="whether alerts arrive")
    add_config(alert)
    trial = "run the [alert] command as an alert does, and say what came of it"
    alert.add_argument("--test", action="store_true", required=True, help=trial)
    alert.set_defaults(command=_alert)

    run = words.add_parser("exec", help="run the config's commands for the events that wait")
    add_config(run)
    run.set_defaults(command=_exec)


def _alert(options: argparse.Namespace) -> int:
    from capd.delivery.trial import attempt
    from capd.runtime import runtime_path

    outcome = attempt(config_of(options), runtime_path())
    say(outcome.text)
    return 0 if outcome.delivered else 1


def _exec(options: argparse.Namespace) -> int:
    from capd import journal
    from capd.delivery.process import Delivery
    from capd.runtime import runtime_path
    from capd.spool import Spool

    journal.set_up()
    Delivery(config_of(options), Spool(runtime_path())).run()
    return 0
