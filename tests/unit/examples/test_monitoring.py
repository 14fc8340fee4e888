"""The dashboard and the alerts ask for metrics that there are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from sire.metrics import exposition
from sire.protocol.replies import HealthReport, MetricsReport

MONITORING = Path(__file__).parents[3] / "examples" / "monitoring"


@pytest.fixture(scope="module")
def exposed() -> set[str]:
    """The names that can be queried: a counter ends in _total, a histogram in _bucket, …."""
    report = MetricsReport(health=_health(), devices=(), instances=(), models=())
    endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}
    return {
        family.name + ending
        for family in text_string_to_metric_families(exposition(report).decode())
        for ending in endings.get(family.type, [""])
    }


def _health() -> HealthReport:
    return HealthReport(
        status="ok",
        version="1",
        pid=1,
        uptime_seconds=1.0,
        memory_bytes=1,
        models=0,
        instances=0,
        queued=0,
        socket="",
        python="3",
    )


def asked(expression: str) -> set[str]:
    return set(re.findall(r"\bsire_\w+", expression))


def test_the_dashboard_is_whole_and_every_metric_in_it_is_exposed(exposed: set[str]) -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    assert all(panel["title"] and panel["description"] for panel in panels)
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    named = set().union(*map(asked, expressions))
    assert named <= exposed, named - exposed
    # And nothing that is measured goes unseen.
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
    measured = {re.sub(r"_(bucket|sum|count)$", "", name) for name in exposed}
    assert measured - shown == {"sire_daemon_info"}
    cells = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_every_alert_asks_for_what_is_exposed_and_says_what_to_do(exposed: set[str]) -> None:
    (group,) = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"]
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    for rule in group["rules"]:
        assert asked(rule["expr"])
        assert asked(rule["expr"]) <= exposed, rule["alert"]
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert {"summary", "action"} <= rule["annotations"].keys()


def test_prometheus_takes_the_alerts() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (on Debian: apt install prometheus)")
    subprocess.run([promtool, "check", "rules", MONITORING / "alerts.yml"], check=True)
