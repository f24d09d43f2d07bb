"""`capd run`: the rings that outlived the daemon before, and then everything else.

What drains a ring comes first: asyncio and all else that is not needed for it is imported
when the workers have begun.
"""

from __future__ import annotations

from capd import descriptors
from capd.daemon.adoption import adopt
from capd.daemon.headstart import HeadStart
from capd.daemon.options import Options
from capd.runtime import RuntimeDirectory


def run(options: Options, head_start: HeadStart | None) -> None:
    """Capture until told to end.  CapdError."""
    descriptors.allow_most()
    adopted = adopt(head_start)
    with RuntimeDirectory() as runtime:
        from capd.daemon.serve import serve

        serve(options, runtime, adopted)
