"""Shells that are asked how a command line goes on, as a person asks with the Tab key.

bash: its own function for the command, called as readline calls it.  zsh: a terminal of its own
in which its completion system runs; what it would offer is noted on the way.
"""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.wait import wait_for

_BASH = """
source "$1"
read -r _ _ function _ < <(complete -p capd)
while IFS= read -r line; do
    eval "COMP_WORDS=($line)"
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    "$function" capd "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
    printf '%s\\n' "${COMPREPLY[@]}" ""
done
"""

# The answer appears whole, by a rename.
_ZSH = """
PS1= fpath=($PWD $fpath)
unsetopt auto_list auto_menu
autoload -Uz compinit && compinit -D -u
compadd() {
  local -a hits
  if [[ ${@[1,(i)(-|--)]} != *-(O|A|D)\\ * ]]; then
    builtin compadd -O hits "$@"
    (( ! $#hits )) || print -rl -- $hits >>hits
  fi
  builtin compadd "$@"
}
ask() {
  : >|hits
  BUFFER=$(<line) CURSOR=1000
  zle complete-word
  BUFFER=
  mv hits answer
}
zle -N ask
bindkey '^Xa' ask
: >ready
"""


class Bash:
    """With capd's completion loaded; as a context."""

    def __init__(self, completion: Path) -> None:
        self._process = subprocess.Popen(
            ["bash", "--norc", "-c", _BASH, "bash", str(completion)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._process:
            self._process.kill()

    def offers(self, *words: str) -> set[str]:
        """What may stand for the last of these words, which may be begun."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(shlex.join(("capd", *words)) + "\n")
        self._process.stdin.flush()
        return {line.strip() for line in iter(self._process.stdout.readline, "\n")}


class Zsh:
    """With capd's completion loaded; as a context.  `folder`: an empty one, where it is."""

    def __init__(self, completion: Path, folder: Path) -> None:
        self._folder = folder
        os.symlink(completion, folder / "_capd")
        (folder / "init").write_text(_ZSH)
        self._terminal, theirs = pty.openpty()
        self._process = subprocess.Popen(
            ["zsh", "-f", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            cwd=folder,
            env=os.environ | {"TERM": "vt100"},
            start_new_session=True,
        )
        os.close(theirs)
        self._said = b""
        self._reader = threading.Thread(target=self._read)

    def __enter__(self) -> Self:
        self._reader.start()
        os.write(self._terminal, b"source ./init\n")
        self._wait("ready")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join()
        os.close(self._terminal)

    def offers(self, *words: str) -> set[str]:
        """What may stand for the last of these words, which may be begun."""
        line = shlex.join(("capd", *words[:-1])) + f" {words[-1]}"
        (self._folder / "line").write_text(line)
        os.write(self._terminal, b"\x18a")
        answer = self._wait("answer").read_text()
        (self._folder / "answer").unlink()
        return set(answer.splitlines())

    def _wait(self, name: str) -> Path:
        path = self._folder / name
        try:
            wait_for(path.exists, 20, f"{name} of zsh")
        except AssertionError as error:
            raise AssertionError(f"{error}; it said {self._said!r}") from error
        return path

    def _read(self) -> None:
        """What it says is read, so that it never waits for that."""
        try:
            while more := os.read(self._terminal, 65536):
                self._said += more
        except OSError:  # nobody has the other end any more
            return
