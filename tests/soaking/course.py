"""A soak from its beginning to its end."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from tests.soaking import schedule
from tests.soaking.closing import Closing
from tests.soaking.ground import Ground
from tests.soaking.log import Log
from tests.soaking.soak import Soak
from tests.soaking.summary import Summary


def run(minutes: float, seed: int) -> Summary:
    """One; its problems are in the summary."""
    log = Log()
    log.say(f"seed {seed}")
    with ExitStack() as duty:
        folder = Path(duty.enter_context(tempfile.TemporaryDirectory(prefix="capd-soak-")))
        ground = duty.enter_context(Ground())
        soak = Soak(ground, folder, log, duty)
        soak.begin()
        log.begun = time.monotonic()
        soak.pursue(schedule.steps(seed, minutes * 60), minutes * 60)
        return Closing(soak).summary(minutes, seed)
