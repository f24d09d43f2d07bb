"""`capd run`: the rings that outlived the daemon before, and then everything else.

What drains a ring comes first: all that is not needed for it, and asyncio too, is imported
when the workers are on their way already.
"""

from __future__ import annotations

from capd.daemon.adoption import adopt
from capd.daemon.options import Options
from capd.runtime import RuntimeDirectory


def run(options: Options) -> None:
    """Capture until told to end.  CapdError."""
    with RuntimeDirectory() as runtime:
        adopted = adopt()
        from capd.daemon.serve import serve

        serve(options, runtime, adopted)
