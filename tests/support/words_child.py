"""Says words of capd one after the other, in one process: starting takes longer than most of them.

stdin has a JSON list of arguments a line, stdout for each a list of exit code and stderr.
What they change of this process, such as its priority, is nobody else's matter.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys

from capd.cli import main


def answer(arguments: list[str]) -> tuple[int, str]:
    """Exit code and stderr."""
    complaints = io.StringIO()
    with contextlib.redirect_stderr(complaints):
        try:
            code = main(arguments)
        except SystemExit as end:  # argparse
            code = end.code if isinstance(end.code, int) else 1
    return code, complaints.getvalue()


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
