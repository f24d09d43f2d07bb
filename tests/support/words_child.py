"""Says words of capd one after the other, in one process: starting takes longer than most of them.

The first line of stdin is a JSON list of filters that will be asked for: libpcap compiles them all
at once.  Each other one is a list of arguments; stdout has for it a list of exit code and stderr.
What a word changes of this process, such as its priority, is nobody else's matter.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys

from capd.cli import main
from capd.filter import FilterRequest, compile_filters
from capd.pcapng import SNAPLEN


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
    texts = json.loads(sys.stdin.readline())
    compile_filters([FilterRequest(text, 1, SNAPLEN) for text in texts])
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
