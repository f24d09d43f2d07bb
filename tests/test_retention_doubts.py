"""What `capd check` says of rules that keep more than they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from capd.config import Config
from capd.daemon.links import Link, Links
from capd.daemon.plans import resolve
from capd.daemon.retention_doubts import retention_doubts


@pytest.mark.parametrize(
    ("of_all", "of_one", "interval", "keys"),
    [
        ("119min", None, "1h", ["storage.max_age: 119 min"]),  # once, though of two interfaces
        ("2h", None, "1h", []),
        ("30d", "5min", "5min", ["xa: max_age: 5 min"]),
        ("30d", "10min", "5min", []),
        ("1min", "1min", "5min", ["storage.max_age: 1 min", "xa: max_age: 1 min"]),
    ],
)
def test_an_age_that_files_are_too_long_for(
    tmp_path: Path, of_all: str, of_one: str | None, interval: str, keys: list[str]
) -> None:
    """The newest finished file stays for an interval, and began one before."""
    one = {"name": "xa", "rotate_size": "8MiB"} | ({} if of_one is None else {"max_age": of_one})
    config = Config.model_validate(
        {
            "storage": {"directory": str(tmp_path), "max_age": of_all, "max_usage": "100%"},
            "capture": {"rotate_interval": interval},
            "interface": [one, {"name": "xb", "rotate_size": "8MiB"}],
        }
    )
    links = {name: Link(name, index, 1) for index, name in enumerate(("xa", "xb"), 901)}
    doubts = list(retention_doubts(config, resolve(config, Links(links, None))))
    assert [doubt.partition(" cannot be kept to: ")[0] for doubt in doubts] == keys
