"""capd's short commands, run to their end in a test's own namespace."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.support.net import Namespace
from tests.support.recorder import CAPD

NOBODY = 65534
# An unprivileged user who may not write anywhere, but can read this checkout wherever it lies,
# and compile filters where unprivileged user namespaces are off.
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search,+net_raw", "--ambient-caps=+dac_read_search,+net_raw"),
)

# Root in name only: what the modes of its own files forbid is forbidden.
WITHOUT_POWERS = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all")


@contextmanager
def running(
    words: Sequence[str], runtime: str | Path, output: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """capd with these words, beside a daemon; it ends with this, whatever happens."""
    with subprocess.Popen(
        [str(CAPD), *words],
        env=os.environ | {"RUNTIME_DIRECTORY": str(runtime)},
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def mounted(*mount: str) -> tuple[str, ...]:
    """A program after this sees `mount ARGUMENTS` done, and nobody else does.

    `ip netns exec` gives every program a mount namespace of its own.
    """
    return ("sh", "-c", 'mount "$1" "$2" "$3" "$4" "$5" && shift 5 && exec "$@"', "sh", *mount)


def check(
    net: Namespace, config: Path, prefix: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """`capd check`, started by `prefix`."""
    return net.run([*prefix, str(CAPD), "check", "--config", str(config)], check=False)


def refusal(net: Namespace, config: Path, prefix: tuple[str, ...] = ()) -> list[str]:
    """The problems that `capd check` lists, without the file's name.

    `capd run` must refuse with the same words, and neither may leave anything behind.
    """
    checked = check(net, config, prefix)
    assert checked.returncode == 2, checked
    assert checked.stdout == ""
    with tempfile.TemporaryDirectory() as runtime:
        os.chmod(runtime, 0o777)
        argv = [*prefix, "env", f"RUNTIME_DIRECTORY={runtime}", str(CAPD), "run"]
        ran = net.run([*argv, "--config", str(config), "--seconds", "60"], check=False)
    assert (ran.returncode, ran.stdout, _settled(ran.stderr)) == (2, "", _settled(checked.stderr))
    lines = checked.stderr.splitlines()
    assert all(line.startswith(f"{config}: ") for line in lines)
    return [line.removeprefix(f"{config}: ") for line in lines]


def _settled(text: str) -> str:
    """Without the memory that is available, which is another amount a moment later."""
    return re.sub(r"the [0-9.]+ \w+ of memory", "the memory", text)
