"""The words about what retention must leave alone: `hold`, `release`."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from capd.cli.common import TIMES, Words, add_config, complete, config_of, range_of, say
from capd.errors import StorageError, UsageError

if TYPE_CHECKING:
    from capd.config import Config
    from capd.holds import Hold
    from capd.query.hold_view import Answer
    from capd.query.holdings import Place


def add(words: Words[argparse.ArgumentParser]) -> None:
    """Add them to the command line."""
    hold = words.add_parser(
        "hold",
        help="keep a range of time from retention; without a range: what is held",
        description="Keep a range of time from retention. Without a range: what is held.",
    )
    add_config(hold)
    hold.add_argument("--since", metavar="T", help=TIMES)
    hold.add_argument("--until", metavar="T", help="the same, or in the future; default now")
    hold.add_argument("--reason", metavar="TEXT", help="for those who find the hold later")
    hold.add_argument(
        "--for", dest="lasting", metavar="TIME", help='such as "30d"; default: until it is released'
    )
    hold.add_argument("--interface", action="append", metavar="I", help="of this one only")
    hold.add_argument("--json", action="store_true", help="for programs")
    hold.set_defaults(command=_hold)

    release = words.add_parser("release", help="end a hold")
    add_config(release)
    which = release.add_mutually_exclusive_group(required=True)
    which.add_argument("ids", nargs="*", default=[], metavar="ID", help="as `capd hold` lists them")
    which.add_argument("--all", action="store_true", help="all there are")
    release.add_argument("--reason", metavar="TEXT", help="for the journal")
    release.set_defaults(command=_release)


def _hold(options: argparse.Namespace) -> int:
    from capd.config import load

    given = {
        "--until": options.until,
        "--reason": options.reason,
        "--for": options.lasting,
        "--interface": options.interface,
    }
    if options.since is None:
        for option, value in given.items():
            if value is not None:
                raise UsageError(f"{option} needs --since: from when on is something to be held?")
        return _show(options)
    if options.reason is None:
        raise UsageError("--reason is missing: why is it held? whoever finds it later must know")
    hold = _meant(options)
    return _make(load(config_of(options)), hold, for_programs=options.json)


def _meant(options: argparse.Namespace) -> Hold:
    """The hold that the words describe.  UsageError."""
    import time

    from capd import audit
    from capd.holds import Hold, interface_problem, new_id

    now = time.time_ns()
    since, until = range_of(options.since, options.until or "now", now)
    for name in options.interface or ():
        problem = interface_problem(name)
        if problem is not None:
            raise UsageError(f"--interface {name}: {problem}")
    return Hold(
        id=new_id(),
        since=since,
        until=until,
        interfaces=tuple(dict.fromkeys(options.interface or ())),
        reason=_reason(options.reason),
        made_at=now,
        expires_at=None if options.lasting is None else _expiry(options.lasting, now),
        by=audit.who(),
    )


def _reason(text: str) -> str:
    from capd.holds import MOST_REASON

    reason = " ".join(text.split())
    if not reason or not reason.isprintable():
        raise UsageError("--reason: write a line of text that can be read")
    if len(reason) > MOST_REASON:
        raise UsageError(f"--reason: it has {len(reason)} characters, and {MOST_REASON} are enough")
    return reason


def _expiry(lasting: str, now: int) -> int:
    """ns since 1970."""
    from capd.units import MAX, parse_duration

    try:
        duration = parse_duration(lasting)
    except ValueError as error:
        raise UsageError(f"--for: {error}") from error
    if not duration:
        raise UsageError("--for: a hold of no time holds nothing")
    if now + duration > MAX:
        raise UsageError("--for: that is after 2262; leave it out for a hold without an end")
    return now + duration


def _make(config: Config, hold: Hold, *, for_programs: bool) -> int:
    """Put it in force, then tell what it keeps: what is deleted meanwhile is not told as kept."""
    import json

    from capd import hold_folder
    from capd.events import Kind
    from capd.holds import describe
    from capd.journal import record
    from capd.query.hold_view import gone, in_words, uncounted
    from capd.query.known import unknown
    from capd.runtime import RuntimeDirectory

    storage = config.storage
    with _folder(config) as folder:
        hold_folder.write(folder, hold)
    record(
        Kind.HOLD_MADE,
        f"hold {hold.id} was made: it keeps {describe(hold)}",
        hold=hold.id,
        directory=storage.directory,
        by=hold.by,
        reason=hold.reason,
    )
    found, places, troubles = _answer(config)
    troubles += unknown(config, hold.interfaces, RuntimeDirectory().status).values()
    kept = next((one for one in found.kept if one.hold.id == hold.id), None)
    if kept is None:
        raise StorageError(f"hold {hold.id} was released at once by somebody else")
    if for_programs:
        say(json.dumps(kept.fields | {"gone": list(gone(hold, places))}))
    else:
        say(f"hold {hold.id} keeps {describe(hold)}")
        say(f"that is {in_words(kept.amount)} so far; all holds together: {in_words(found.total)}")
        for text in (*uncounted(hold, places), *gone(hold, places)):
            say(text)
    return complete(troubles)


def _show(options: argparse.Namespace) -> int:
    from capd.config import load
    from capd.query.hold_view import as_json, lines

    found, _, troubles = _answer(load(config_of(options)))
    say(as_json(found) if options.json else "\n".join(lines(found)))
    return complete(troubles)


def _answer(config: Config) -> tuple[Answer, list[Place], list[str]]:
    """What is held, of what, and what is not clear about it."""
    from capd import hold_folder
    from capd.query.hold_view import answer
    from capd.query.holdings import look
    from capd.query.known import unmounted

    held = hold_folder.of(config.storage.directory)
    places, troubles = look(config.directories)
    found = answer(held, places)
    troubles += unmounted(config.storage, config.archive)
    return found, places, troubles + found.troubles


def _release(options: argparse.Namespace) -> int:
    from capd import hold_folder
    from capd.config import load
    from capd.holds import is_id

    config = load(config_of(options))
    directory = config.storage.directory
    reason = None if options.reason is None else _reason(options.reason)
    found = hold_folder.of(directory)
    known = {hold.id: hold for hold in found.holds}
    # A file that nobody can read as a hold can be released by its name.
    stems = {
        os.path.basename(doubt.path).removesuffix(hold_folder.SUFFIX) for doubt in found.doubts
    }
    there = known.keys() | {stem for stem in stems if is_id(stem)}
    wanted = sorted(known) if options.all else list(dict.fromkeys(options.ids))
    unknown = [one for one in wanted if one not in there]
    if unknown:
        raise StorageError(
            f"there is no hold {', '.join(unknown)} in {directory}, and nothing was released; "
            "to see what is held: capd hold"
        )
    with _folder(config) as folder:
        for one in wanted:
            if hold_folder.remove(folder, one):
                _tell_released(directory, one, known.get(one), reason)
    if not wanted:
        say("nothing is held")
    return complete([doubt.text for doubt in found.doubts] if options.all else [])


def _tell_released(directory: str, identity: str, hold: Hold | None, reason: str | None) -> None:
    from capd import audit
    from capd.events import Kind
    from capd.holds import describe
    from capd.journal import record

    by = audit.who()
    kept = "nobody knows what, as it could not be read" if hold is None else describe(hold)
    text = f"hold {identity} was released by {by}"
    if reason is not None:
        text += f" ({reason})"
    text += f": it kept {kept}"
    record(Kind.HOLD_RELEASED, text, hold=identity, directory=directory, by=by)
    say(text)


@contextmanager
def _folder(config: Config) -> Iterator[int]:
    """The folder of the holds, to be written to.  StorageError."""
    from capd import hold_folder
    from capd.daemon.directory import mount_point

    directory = config.storage.directory
    if config.storage.require_mount and mount_point(directory) == "/":
        raise StorageError(
            f"cannot change what is held in {directory}: it is on the root file system, and "
            "require_mount is set; mount its disk first"
        )
    folder = hold_folder.make(directory)
    try:
        yield folder
    except OSError as error:
        raise hold_folder.refusal("change what is held", directory, error) from error
    finally:
        os.close(folder)
