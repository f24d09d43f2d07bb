"""What `capd run` was told on its command line."""

from __future__ import annotations

from typing import NamedTuple


class Options(NamedTuple):
    """The daemon's."""

    config: str  # path
    live: bool  # show a table on the terminal
    seconds: float | None  # after which to end
    keep_rings: bool  # SIGTERM ends the daemon and leaves its rings to systemd
