"""What capd claims about security: the rows only.

Which tests hold a claim is said by the tests, `@pytest.mark.security("rights")`: each asserts what
stands here.  `tests/security` runs them, by `security_table.py`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import NamedTuple

from tests.support.marks import files_of
from tests.support.roots import CHECKOUT


class Claim(NamedTuple):
    """One; `why`: what of it no test holds, and the reason."""

    name: str
    text: str
    why: str = ""


CLAIMS = (
    # Processes
    Claim("rights", "daemon and workers have CAP_NET_RAW, the archive process and others none"),
    Claim("seccomp", "in its unit the daemon can open packets, and none of mount, bpf, ptrace"),
    Claim("rating", "systemd-analyze security: capd, its metrics 1.3, tune 1.6, exec 6.8 at most"),
    Claim("ptrace", "a command of the config can look into neither daemon nor workers"),
    Claim("cores", "no unit leaves a core, which would have packets in it"),
    Claim("fd store", "only the daemon itself can put descriptors into systemd's store"),
    Claim("isolation", "no code comes from the environment, the home or where root stands"),
    # Files
    Claim("directory", "one that others own or may write to is refused, and one of another capd"),
    Claim("links", "no link that somebody puts in the way is followed"),
    Claim("modes", "nobody but capd writes, nobody but its group reads"),
    Claim("extract", "what is extracted is 0600, and never made over a segment"),
    Claim("package", "its files are root's, its scripts change no owner, mode or link"),
    # Those who ask
    Claim("socket", "strangers, floods and half messages on the control socket cost nothing"),
    Claim("holds", "only root and the group may hold, and the journal knows who it was"),
    Claim("trail", "each extraction is in the journal, with who asked for what"),
    Claim("metrics", "off unless asked for; floods and drips are ended; no capture is in sight"),
    # Commands
    Claim("hooks", "no shell, no descriptor, no right; time and output have bounds"),
    Claim("secrets", "what a command is given is in no message, status or error"),
    Claim("convert", "a line is not run, and no word of it becomes a key"),
    # Input
    Claim("escapes", "no name or text of others moves a cursor, or looks like a message"),
    Claim("names", "an interface with an odd name leads nowhere else"),
    Claim("filters", "a hostile filter is refused, or compiled within limits"),
    Claim("segments", "hostile blocks, segments and indexes cost no crash and no memory"),
)


def claims_asked_for(words: Iterable[str]) -> list[Claim]:
    """Those of these names, or all; ValueError tells of what is no claim."""
    known = {claim.name: claim for claim in CLAIMS}
    words = list(words)
    if unknown := [word for word in words if word not in known]:
        raise ValueError(f"no claim: {', '.join(unknown)}; there are: {', '.join(known)}")
    return [known[word] for word in words] if words else list(CLAIMS)


def main() -> None:
    """Prints the files that hold the tests of the claims in the command line, and of the table."""
    try:
        asked = claims_asked_for(sys.argv[1:])
    except ValueError as error:
        sys.exit(str(error))
    found = {path for claim in asked for path in files_of("security", claim.name)}
    for path in ["tests/test_claims.py", *sorted(str(one.relative_to(CHECKOUT)) for one in found)]:
        print(path)


if __name__ == "__main__":
    main()
