"""Who runs a command: for what is put on record about people.

A name from here is what this process was told; the journal adds what the kernel knows.
"""

from __future__ import annotations

import os
import pwd

from capd.units import printable

_LOGIN = "/proc/self/loginuid"  # proc(5): who logged in, also after su and sudo
_NOBODY = 2**32 - 1  # nobody did: it was started by the system


def who() -> str:
    """The user's name, and that of who logged in or called sudo where it is another's."""
    uid = os.getuid()
    user, login = _name(uid), _login()
    before = _name(login) if login not in (None, uid) else ""
    if not before and uid == 0:
        before = os.environ.get("SUDO_USER", "")
    return printable(f"{before} as {user}" if before and before != user else user)


def _login() -> int | None:
    try:
        with open(_LOGIN) as file:
            found = int(file.read())
    except (OSError, ValueError):  # a kernel without audit
        return None
    return None if found == _NOBODY else found


def _name(uid: int | None) -> str:
    if uid is None:
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
