"""Metrics as a program sees them that asks over HTTP, and a Prometheus that does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.net import Namespace, inside
from tests.support.wait import wait_for

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]

METRICS, PROMETHEUS = "127.0.0.1:9917", "127.0.0.1:9090"


def samples(text: str) -> Samples:
    """By name and labels; AssertionError if one is there twice."""
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, key
            found[key] = sample.value
    return found


def sample(found: Samples, name: str, **labels: str) -> float:
    """The one that is called so and has these labels."""
    return found[name, frozenset(labels.items())]


def fetch(net: Namespace, address: str, path: str = "/metrics") -> str:
    """What a server in the namespace answers."""
    with inside(net.name), urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def answers(net: Namespace, address: str, path: str, text: str = "") -> bool:
    """Whether it answers, and well, with this text among the rest."""
    try:
        return text in fetch(net, address, path)
    except OSError:  # nobody listens, or one who is killed just now: urllib wraps the first only
        return False


@contextmanager
def metrics(net: Namespace, config: Path, runtime: str) -> Iterator[subprocess.Popen[str]]:
    """`capd metrics`, as the daemon would start it."""
    words = ["env", f"RUNTIME_DIRECTORY={runtime}", sys.executable, "-I", "-m", "capd", "metrics"]
    program = net.popen([*words, "--config", str(config)], stderr=subprocess.PIPE)
    try:
        wait_for(lambda: answers(net, METRICS, "/metrics"), 20, "capd metrics to answer")
        yield program
    finally:
        program.terminate()
        program.wait(10)


class Prometheus:
    """A server that scrapes METRICS once a second, with capd's alert rules."""

    def __init__(self, net: Namespace, folder: Path, rules: Path) -> None:
        self._net = net
        self._folder = folder
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "scrape_configs": [{"job_name": "capd", "static_configs": [{"targets": [METRICS]}]}],
        }
        (folder / "prometheus.yml").write_text(json.dumps(config))  # JSON is YAML

    @contextmanager
    def running(self) -> Iterator[None]:
        """Meanwhile."""
        with (self._folder / "log").open("w") as log:
            program = self._net.popen(
                [
                    *("prometheus", f"--config.file={self._folder}/prometheus.yml"),
                    *(f"--storage.tsdb.path={self._folder}/tsdb", "--log.level=warn"),
                    f"--web.listen-address={PROMETHEUS}",
                ],
                stderr=log,
                stdout=log,
                env=os.environ | {"GOMAXPROCS": "1"},
            )
            try:
                wait_for(lambda: answers(self._net, PROMETHEUS, "/-/ready"), 30, "Prometheus")
                yield
            finally:
                program.terminate()
                program.wait(20)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an instant query gives now."""
        words = urllib.parse.urlencode({"query": expression, "time": time.time()})
        answer = json.loads(fetch(self._net, PROMETHEUS, f"/api/v1/query?{words}"))
        assert answer["status"] == "success", answer
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def alerts(self) -> set[str]:
        """The names of those that fire."""
        answer = json.loads(fetch(self._net, PROMETHEUS, "/api/v1/alerts"))
        return {
            one["labels"]["alertname"]
            for one in answer["data"]["alerts"]
            if one["state"] == "firing"
        }
