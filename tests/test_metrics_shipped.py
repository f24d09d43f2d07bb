"""What ships for Prometheus and Grafana: rules that fire, a dashboard of metrics that there are."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.need import need
from tests.support.roots import CHECKOUT
from tests.support.whole import FULL, of, text_of

SHIPPED = [
    CHECKOUT / "packaging" / "prometheus" / "capd.rules.yml",
    CHECKOUT / "packaging" / "grafana" / "capd.json",
]
RULES_TEST = CHECKOUT / "tests" / "data" / "capd.rules.test.yml"


def promtool(*words: str, text: str = "") -> str:
    need("promtool")
    done = subprocess.run(
        ["promtool", *words], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_names_are_as_prometheus_wants_them() -> None:
    assert promtool("check", "metrics", text=text_of(FULL)) == ""


def test_the_rules_fire_when_they_should(tmp_path: Path) -> None:
    """Each of them does in one of the cases."""
    assert "SUCCESS" in promtool("check", "rules", str(SHIPPED[0]))
    assert "SUCCESS" in promtool("test", "rules", str(RULES_TEST))
    alerts = set(re.findall(r"alert: (\w+)", SHIPPED[0].read_text()))
    cases = RULES_TEST.read_text().split("alertname: ")[1:]
    fired = {case.split()[0] for case in cases if "exp_labels" in case}
    assert fired == alerts


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_what_is_shipped_names_metrics_that_there_are(path: Path) -> None:
    there = {name for name, _ in of(FULL)} | {"capd_up"}
    named = set(re.findall(r"\bcapd_\w+", path.read_text()))
    assert named
    assert named - there == set()


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = json.loads(SHIPPED[1].read_text())
    assert board["schemaVersion"] >= 39
    assert board["templating"]["list"][0]["type"] == "datasource"
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert re.search(r'instance=~"\$instance"', target["expr"])
