"""Events for the commands of the config: the daemon leaves them here, `capd exec` takes them.

    events/<UTC ns>-<kind>.json     one event, whole: {"kind", "at", "text", "facts", "answer"}
    results/<the same name>         what became of one whose author waits for an answer

Both folders are in the runtime directory.  The order of the names is that of the events.  Who takes
events holds a lock on the folder meanwhile.  An event says what happened and never what is to be
run: whoever may write here must not choose the program.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from capd import whole_file
from capd.errors import StorageError
from capd.folders import DIRECTORY
from capd.units import MAX

SEGMENT_CLOSED = "segment-closed"  # the kind of event for which the [hook] command is run
MOST = 1000  # events that wait
MAX_EVENT = 64 * 1024  # bytes
STALE = 3600  # seconds that a result waits to be read

_NAME = re.compile(r"[0-9]{20}-([a-z-]{1,40})\.json")
_FACT = re.compile(r"[a-z][a-z_]{0,40}")  # they become names in an environment


class Event(NamedTuple):
    """Something that a command of the config may be run for."""

    kind: str  # "alert", "all-clear", "test", SEGMENT_CLOSED
    at: int  # ns since 1970
    text: str  # for people
    facts: dict[str, str]  # for programs
    answer: bool = False  # whether somebody waits for what became of it


class Spool:
    """The folders of one runtime directory."""

    def __init__(self, runtime: str) -> None:
        self.events = f"{runtime}/events"
        self.results = f"{runtime}/results"

    def put(self, event: Event) -> str:
        """Leave an event; gives its name.  StorageError: it is not there."""
        name = f"{event.at:020d}-{event.kind}.json"
        _make(self.events)
        if len(self.names()) >= MOST:
            raise StorageError(f"{MOST} events wait in {self.events} and nobody takes them")
        _write(self.events, name, json.dumps(event._asdict()))
        return name

    def names(self, kind: str = "") -> list[str]:
        """The events that wait, or those of one kind, the oldest first; the rest is nobody's."""
        return _of_kind(_listed(self.events), kind)

    def alerts(self) -> list[str]:
        """Those that somebody is to be told of: no segments, which wait for the next daemon too."""
        segments = self.names(SEGMENT_CLOSED)
        return [name for name in self.names() if name not in segments]

    def waiting(self, kind: str = "") -> list[tuple[str, Event]]:
        """All that wait and can be read, or those of one kind, with their names."""
        found = []
        for name in self.names(kind):
            with suppress(StorageError):  # see set_aside
                found.append((name, self.read(name)))
        return found

    def read(self, name: str) -> Event:
        """One that waits.  StorageError."""
        try:
            fields = json.loads(whole_file.read(f"{self.events}/{name}", MAX_EVENT))
            known = {key: fields[key] for key in Event._fields}
            event = Event(**known)
            if not _fits(event):
                raise ValueError("its values are of other kinds")
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise StorageError(f"cannot read the event {self.events}/{name}: {error}") from error
        return event

    def remove(self, name: str) -> None:
        """It is dealt with.  StorageError: it is still there, and would be dealt with again."""
        try:
            os.unlink(f"{self.events}/{name}")
        except FileNotFoundError:  # the folder may have gone with the daemon
            return
        except OSError as error:
            raise StorageError(f"cannot remove {self.events}/{name}: {error.strerror}") from error

    def set_aside(self) -> list[str]:
        """Hide what is no event, and cannot be read as one; gives the names.  StorageError.

        Nobody else would remove it, and the folder counts as one in which events wait.
        """
        found = []
        for name in _listed(self.events):
            if not name.startswith(".") and not self._is_event(name):
                hidden = f"{self.events}/.{name}"
                try:
                    os.rename(f"{self.events}/{name}", hidden)
                except OSError as error:
                    raise StorageError(f"cannot rename to {hidden}: {error.strerror}") from error
                found.append(hidden)
        return found

    def answer(self, name: str, result: dict[str, Any]) -> None:
        """Say what became of an event whose author waits.  StorageError."""
        _make(self.results)
        for old in _listed(self.results):
            path = f"{self.results}/{old}"
            with suppress(OSError):  # its author has gone without asking
                if time.time() - os.stat(path).st_mtime > STALE:
                    os.unlink(path)
        _write(self.results, name, json.dumps(result))

    def known(self, kind: str) -> tuple[list[str], list[str]]:
        """The events of one kind that wait, and then those of which it is known what became.

        StorageError where nobody can see: that is not none.
        """
        return _of_kind(_seen(self.events), kind), _of_kind(_seen(self.results), kind)

    def result(self, name: str) -> dict[str, Any] | None:
        """What became of an event, once; None: nobody knows yet."""
        try:
            result = json.loads(whole_file.read(f"{self.results}/{name}", MAX_EVENT))
        except (OSError, ValueError, RecursionError):
            return None
        with suppress(OSError):
            os.unlink(f"{self.results}/{name}")
        return result if isinstance(result, dict) else None

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Be the one who takes events, once nobody else does.  StorageError."""
        _make(self.events)
        with _opened(self.events) as folder:
            if not os.access(self.events, os.W_OK):  # or the same event would be taken for ever
                raise StorageError(f"cannot take events: {self.events} is not to be written to")
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield

    @property
    def is_taken(self) -> bool:
        """Whether somebody takes events now."""
        _make(self.events)
        with _opened(self.events) as folder:
            try:
                fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)  # two that ask see nobody
            except BlockingIOError:
                return True
            return False

    def _is_event(self, name: str) -> bool:
        if not _NAME.fullmatch(name):
            return False
        with suppress(StorageError):
            self.read(name)
            return True
        return not os.path.lexists(f"{self.events}/{name}")  # somebody has removed it


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _seen(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StorageError(f"cannot read {folder}: {error.strerror}") from error


def _of_kind(found: list[str], kind: str) -> list[str]:
    matches = ((name, _NAME.fullmatch(name)) for name in found)
    return [name for name, match in matches if match and kind in ("", match[1])]


def now() -> int:
    """For `Event.at`."""
    return time.time_ns()


def _fits(event: Event) -> bool:
    """UnicodeEncodeError for a text that no program could be given."""
    if not isinstance(event.facts, dict) or not isinstance(event.at, int):
        return False
    texts = (event.kind, event.text, *event.facts.values())
    if not 0 <= event.at <= MAX or not all(isinstance(text, str) for text in texts):
        return False
    for text in texts:
        text.encode(errors="surrogateescape")
    return all(_FACT.fullmatch(name) for name in event.facts)


def _make(folder: str) -> None:
    try:
        os.mkdir(folder, 0o770)
    except FileExistsError:
        return
    except OSError as error:
        text = f"cannot make {folder}: {error.strerror}{_advice(error)}"
        raise StorageError(text) from error
    with _opened(folder) as made, _opened(os.path.dirname(folder)) as parent:
        _give(made, parent)


@contextmanager
def _opened(folder: str) -> Iterator[int]:
    """It itself: root must not be led elsewhere by a link in a folder that is capd's."""
    try:
        fd = os.open(folder, DIRECTORY)
    except OSError as error:
        text = f"cannot open {folder}: {error.strerror}{_advice(error)}"
        raise StorageError(text) from error
    try:
        yield fd
    finally:
        os.close(fd)


def _give(fd: int, like: int) -> None:
    """To whom another one belongs, if that is somebody else: root gives to capd."""
    owner = os.fstat(like)
    if os.geteuid() == 0 and owner.st_uid:
        os.fchown(fd, owner.st_uid, owner.st_gid)


def _write(folder: str, name: str, text: str) -> None:
    """A file with this content, there whole or not at all; it belongs to whom the folder does."""
    new = f".{name}.{os.getpid()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with _opened(folder) as at:
        try:
            with open(os.open(new, flags, 0o640, dir_fd=at), "w") as file:
                file.write(text)
                _give(file.fileno(), at)
            os.rename(new, name, src_dir_fd=at, dst_dir_fd=at)
        except OSError as error:
            with suppress(OSError):
                os.unlink(new, dir_fd=at)
            text = f"cannot write {folder}/{name}: {error.strerror}{_advice(error)}"
            raise StorageError(text) from error


def _advice(error: OSError) -> str:
    if error.errno == errno.EACCES:
        return "; only root and the user that capd runs as may"
    return "; does capd run?" if error.errno == errno.ENOENT else ""
