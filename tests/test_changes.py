"""What a reload says of the tables that are no ring's."""

from __future__ import annotations

import pytest

from capd.config import Alert, Config, Hook, Interface, Metrics, Monitor
from capd.daemon.changes import of_tables
from capd.units import SECOND

ANY = (Interface(name="v0"),)


@pytest.mark.security("secrets")
def test_what_is_different() -> None:
    """In the words of the config; at the start, nothing."""
    before = Config(interface=ANY)
    after = Config(
        interface=ANY,
        monitor=Monitor.model_construct(interval=5 * SECOND),
        alert=Alert.model_construct(
            packets=10, per=60 * SECOND, command=("/usr/bin/mail", "-s", "capd lost"), timeout=1
        ),
        hook=Hook.model_construct(
            segment_closed=None, timeout=60 * SECOND, parallel=4, keep_until_done=True
        ),
        metrics=Metrics(listen="[::1]:9917"),
    )
    assert list(of_tables(before, before)) == list(of_tables(None, after)) == []
    assert list(of_tables(before, after)) == [
        "monitor.interval: 5 s; before: 1 s",
        "alert.packets: 10; before: 1",
        "alert.command: /usr/bin/mail and 2 more words; before: none",
        "alert.timeout: 0.000001 ms; before: 30 s",
        "hook.timeout: 1 min; before: 10 min",
        "hook.parallel: 4; before: 1",
        "hook.keep_until_done: yes; before: no",
        "metrics.listen: [::1]:9917; before: none",
    ]
