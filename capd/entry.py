"""Where `capd` begins.

After a restart every ring fills until a worker drains it.  So workers for the rings that
systemd kept are on their way before anything is imported that they do not need.
"""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; gives the exit code."""
    head_start = None
    if "--keep-rings" in sys.argv:
        from capd.daemon import headstart

        head_start = headstart.take()
    from capd.cli import main as run

    return run(head_start=head_start)
