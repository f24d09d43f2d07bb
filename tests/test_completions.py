"""What the Tab key offers in bash and zsh: each word and option that argparse has, and no other."""

from __future__ import annotations

import os
import pty
import select
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from capd.losses import STAGES
from tests.support.completing import Bash, Zsh
from tests.support.grammar import branches, leaves, options, words
from tests.support.need import need
from tests.support.recorder import CAPD
from tests.support.roots import CHECKOUT

COMPLETIONS = CHECKOUT / "packaging" / "completions"
TIMES = {"now", "today", "yesterday", "10min", "1h", "24h"}
FREE = {"--seconds", "--limit", "--snaplen", "--reason"}  # what only the person knows


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Bash | Zsh]:
    need(request.param, "grep", "cut")
    before = os.environ["PATH"]
    os.environ["PATH"] = f"{CAPD.parent}:{before}"
    try:
        if request.param == "bash":
            with Bash(COMPLETIONS / "capd.bash") as bash:
                yield bash
        else:
            with Zsh(COMPLETIONS / "capd.zsh", tmp_path_factory.mktemp("zsh")) as zsh:
                yield zsh
    finally:
        os.environ["PATH"] = before


def test_words(shell: Bash | Zsh) -> None:
    for path, parser in words().items():
        if below := branches(parser):
            assert shell.offers(*path.split(), "") == set(below), path
            assert shell.offers(*path.split(), "r") == {w for w in below if w.startswith("r")}


def test_options(shell: Bash | Zsh) -> None:
    for path, parser in words().items():
        assert shell.offers(*path.split(), "-") == set(options(parser)), path
    assert shell.offers("extract", "--fo") == {"--follow", "--format"}
    assert "--follow" in shell.offers("extract", "--interface", "eth0", "--json", "-")


def test_values_of_options(shell: Bash | Zsh, tmp_path: Path) -> None:
    """Of every option that takes one; a new one that nobody thought of fails here."""
    (tmp_path / "one.toml").touch()
    known = {
        "--stage": set(STAGES),
        "--interface": {path.name for path in Path("/sys/class/net").iterdir() if path.is_dir()},
        "--format": {"pcapng", "pcap"},
        "--since": TIMES,
        "--until": TIMES,
        "--for": {"1d", "30d", "365d"},
        "--if-stopping": {"capd.service"},
    } | {option: set[str]() for option in FREE}
    for path, parser in leaves().items():
        for option, action in options(parser).items():
            before = (*path.split(), option)
            if action.nargs == 0:
                continue
            if option in ("--config", "-o"):
                (found,) = shell.offers(*before, f"{tmp_path}/o")
                assert Path(found).name == "one.toml"
                continue
            assert shell.offers(*before, "") == known[option], before
            if action.choices:
                assert set(action.choices) == known[option]


def test_files_and_nothing_else(shell: Bash | Zsh, tmp_path: Path) -> None:
    (tmp_path / "one.toml").touch()
    (found,) = shell.offers("check", f"{tmp_path}/o")
    assert Path(found).name == "one.toml"
    for word in ("reload", "status", "run"):
        assert shell.offers(word, f"{tmp_path}/o") == set()


def test_holds(shell: Bash | Zsh, tmp_path: Path) -> None:
    captures, config = tmp_path / "captures", tmp_path / "capd.toml"
    captures.mkdir(0o750)
    config.write_text(f'[storage]\ndirectory = "{captures}"\n[[interface]]\nname = "@default"\n')
    made = set()
    for _ in range(2):
        argv = [
            str(CAPD),
            "hold",
            "--config",
            str(config),
            "--since",
            "1h",
            "--reason",
            '"id": "00000000"',
        ]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        made.add(done.stdout.split()[1])
    before = ("release", "--config", str(config))
    assert shell.offers(*before, "") == made
    one = min(made)
    assert shell.offers(*before, one[:7]) == {name for name in made if name[:7] == one[:7]}
    assert shell.offers("release", "--config", f"{config}.not", "") == set()


def test_bash_is_clean() -> None:
    """It has no first line by which .ci/run would find it."""
    need("shellcheck")
    argv = ["shellcheck", "--shell=bash", str(COMPLETIONS / "capd.bash")]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_bash_runs_no_name(tmp_path: Path) -> None:
    """An interface may be called `$(...)`; here it is what has been typed that is."""
    need("bash")
    marker = tmp_path / "ran"
    with Bash(COMPLETIONS / "capd.bash") as bash:
        assert bash.offers("losses", "--stage", f"$(touch {marker})") == set()
        assert bash.offers(f"$(touch {marker})", "") == set()
    assert not marker.exists()


def test_bash_at_a_terminal(tmp_path: Path) -> None:
    """readline divides a line otherwise than a shell does: at "=", and it quotes file names."""
    need("bash")
    config = tmp_path / "with space.toml"
    config.touch()
    keys = f"capd extr\t--form\tpcapn\t--config={tmp_path}/with\t--interface=l\t--fol\t\n"
    options = ["--format", "pcapng", f"--config={config}", "--interface=lo", "--follow"]
    assert typed(keys) == ["extract", *options]


def typed(keys: str) -> list[str]:
    """The words that a capd gets when these keys are typed in bash."""
    setup = f"""
        source {shlex.quote(str(COMPLETIONS / "capd.bash"))}
        PS1=
        capd() {{ printf '\\001%s' "$@"; echo $'\\002'; exit; }}
    """
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"TERM": "dumb", "INPUTRC": "/dev/null"},
        start_new_session=True,
    ) as process:
        os.close(theirs)
        os.write(ours, (setup + keys).encode())
        said = b""
        try:
            while b"\2" not in said:
                assert select.select([ours], [], [], 20)[0], said
                said += os.read(ours, 65536)
        finally:
            process.kill()
            os.close(ours)
    answer = said.decode().partition("\2")[0]
    return answer[answer.index("\1") + 1 :].split("\1")
