"""What a test needs of this machine.

Where it is missing the test is skipped, with the reason; under CI (the environment
variable) it fails, because there a skipped test is one that nobody runs.
"""

from __future__ import annotations

import functools
import os
import shutil
from typing import NoReturn

import pytest

from tests.support import bpf
from tests.support.frames import IMIX, Stream
from tests.support.net import Namespace
from tests.support.xdp import FrameSource


def need(*tools: str) -> None:
    """These programs are on PATH."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        lacking(f"not installed: {', '.join(missing)}")


def need_root() -> None:
    """The test may make namespaces and load BPF programs."""
    if os.geteuid() != 0:
        lacking("needs root")


def need_namespaces() -> None:
    """The test can make a network namespace with a veth pair in it."""
    need("ip", "sysctl")
    need_root()
    if refusal := _namespace_refusal():
        lacking(f"no network namespaces: {refusal}")


def need_frame_source() -> None:
    """The test can inject frames."""
    need_namespaces()
    if refusal := _frame_source_refusal():
        lacking(f"no live XDP frames: {refusal}")


def lacking(reason: str) -> NoReturn:
    """Skips for this reason, or fails."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@functools.cache
def _namespace_refusal() -> str:
    try:
        with Namespace() as namespace:
            namespace.add_veth("v0", "v1")
    except (OSError, AssertionError) as error:
        return str(error)
    return ""


@functools.cache
def _frame_source_refusal() -> str:
    if not bpf.supported():
        return "this processor's bpf(2) is not known here"
    try:
        with Namespace() as namespace:
            index = namespace.add_veth("v0", "v1")
            with FrameSource(Stream(IMIX), index, namespace.name) as source:
                source.inject(1)
    except OSError as error:
        return str(error)
    return ""
