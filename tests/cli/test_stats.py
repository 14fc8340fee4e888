"""``sire stats``: what was counted, what is remembered of it, and drawings of that."""

import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from sire.client.autostart import daemon_runs
from sire.protocol.counts import ModelHistory, StatsTotals
from sire.protocol.replies import HistoryReport, StatsReport
from sire_cli.stats.charts import draw
from sire_cli.stats.history import sums
from sire_cli.stats.tables import print_all, print_one
from tests.cli.test_top import stats_of
from tests.home import Home
from tests.waiting import wait_until

pytestmark = pytest.mark.own_daemon

NOON = 1_700_000_000 // 3600 * 3600


def a_step(at: int, model: str = "m", answers: int = 10, **given: Any) -> ModelHistory:
    figures = {
        "errors": 0,
        "p50_latency_seconds": 0.01,
        "p99_latency_seconds": 0.1,
        "memory_bytes": 1 << 20,
        "loads": 0,
        "evictions": 0,
        "crashes": 0,
    }
    return ModelHistory(NOON + at, model, answers, **figures | given)


def drawn(*steps: ModelHistory, width: int = 80, height: int = 24, colours: bool = False) -> str:
    report = HistoryReport(step_seconds=60, steps=steps)
    return draw(report, NOON, NOON + 3600, width, height, colours=colours)


def test_every_percentile_error_and_byte_of_one_model_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    print_one(
        stats_of(
            "m",
            inference_count=1234,
            errors={"InvalidInput": 2, "WorkerCrashed": 1},
            latency_percentiles={"p50": 0.004, "p99.9": 2.0},
            batches={1: 3, 8: 20},
            bytes_in=3 << 20,
            bytes_out=512,
            cache_hits=3,
            cache_misses=1,
        )
    )
    told = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    told = {name: words.strip() for name, words in told.items()}
    assert told["errors"] == "2 InvalidInput, 1 WorkerCrashed"
    assert told["bytes"] == "3 MiB in, 512 B out"
    assert "p50 4.00 ms, p99.9 2 s" in told["latency"]
    assert told["batches"] == "3 of 1, 20 of 8"
    assert told["cache hits"].startswith("3 of 4")


def test_the_table_of_all_fits_a_hundred_columns(capsys: pytest.CaptureFixture[str]) -> None:
    busy = stats_of("a-long-model-name", "unloaded", inference_count=123_456, loads=12)
    totals = StatsTotals(inference_count=0, errors=0, loads=0, evictions=0, crashes=0)
    print_all(StatsReport(models=(busy,), totals=totals))
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_sums_weigh_the_median_and_keep_the_worst() -> None:
    steps = [
        a_step(0, answers=30, p50_latency_seconds=0.1, p99_latency_seconds=0.2, loads=1),
        a_step(60, answers=10, p50_latency_seconds=0.5, p99_latency_seconds=0.9, errors=2),
        a_step(120, answers=0, p50_latency_seconds=None, p99_latency_seconds=None),
    ]
    (m,) = sums(steps)
    assert (m.inference_count, m.errors, m.loads) == (40, 2, 1)
    assert m.p50_latency_seconds == pytest.approx(0.2)
    assert m.p99_latency_seconds == 0.9
    assert m.at == NOON + 60


def test_one_model_is_drawn_with_its_latencies_on_a_ruler_of_powers_of_ten() -> None:
    lines = drawn(*(a_step(60 * n) for n in range(60))).splitlines()
    assert lines[0] == "latency:  a=p50  b=p99"
    assert any(line.strip().startswith("10 ms┤a") for line in lines)
    assert any(line.strip().startswith("100 ms┤b") for line in lines)
    assert "memory" in lines
    assert "answers" in lines


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (40, 10)])
def test_a_drawing_fits_the_screen_as_long_as_that_is_not_tiny(width: int, height: int) -> None:
    steps = [a_step(60 * n, model) for n in range(60) for model in ("m", "n")]
    lines = drawn(*steps, width=width, height=height).splitlines()
    assert len(lines) <= max(height, 16)
    assert all(len(line) <= width for line in lines)


def test_a_line_breaks_where_a_model_was_not_there() -> None:
    row = next(
        line
        for line in drawn(a_step(0), a_step(60), a_step(3540), colours=False).splitlines()
        if "10 ms┤" in line
    )
    assert " " * 20 in row


def test_a_drawing_has_colours_only_where_they_are_wanted() -> None:
    steps = [a_step(60 * n) for n in range(60)]
    assert "\x1b[38;5;" in drawn(*steps, colours=True)
    assert "\x1b" not in drawn(*steps, colours=False)


def test_what_happened_is_remembered_whatever_ends_the_daemon(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m")
    for _ in range(2):
        home.sire("predict", "m", "-i", "-", stdin=b"[1, 2, 3, 4]")
    counted = home.json("stats", "m")
    assert counted["bytes_in"] == 2 * len("[1, 2, 3, 4]")
    assert counted["bytes_out"] > 0
    steps = home.json("stats", "m", "--since", "1h")["steps"]
    assert sum(step["inference_count"] for step in steps) == 2
    assert sum(step["loads"] for step in steps) == 1
    os.kill(home.pid(), signal.SIGKILL)
    wait_until(lambda: not daemon_runs(home.paths))
    steps = home.json("stats", "--since", "1h")["steps"]
    assert sum(step["inference_count"] for step in steps) == 2
    assert home.json("stats", "m")["inference_count"] == 0
    assert b"MODEL" in home.sire("stats", "--since", "1h").stdout
    assert "latency:" in home.sire("stats", "m", "--plot").stdout.decode()
    assert b"No model" in home.sire("stats", "n", "--since", "1h", code=3).stderr
    home.sire("stats", "--since", "0s", code=2)
    home.sire("daemon", "stop")
    home.paths.history.write_bytes(b"no database" * 999)
    assert json.loads(home.sire("stats", "--since", "1h", "--json").stdout)["steps"] == []
    assert any("damaged" in problem for problem in home.json("health")["problems"])
