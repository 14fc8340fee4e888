"""The live view: what it draws at which size, and how it behaves on a real terminal."""

import re
from typing import Any

import pytest
from rich.console import Console

from sire.protocol.counts import ModelStats, StatsTotals
from sire.protocol.devices import DeviceInfo, GpuReadings
from sire.protocol.replies import HealthReport, InstanceInfo, StatsReport, TopReport
from sire_cli.top.colours import PALETTE, colours_of
from sire_cli.top.devices import FOREIGN, FREE, USED
from sire_cli.top.format import clock, latency, rate
from sire_cli.top.models import rows_of
from sire_cli.top.view import frame

GIB = 1 << 30


def an_instance(model: str, device: str = "cpu", **changes: Any) -> InstanceInfo:
    defaults: dict[str, Any] = {
        "instance": 1,
        "model": model,
        "device": device,
        "state": "ready",
        "pid": 100,
        "memory_bytes": GIB,
        "uptime_seconds": 60.0,
        "idle_seconds": 3.0,
        "expires_in_seconds": 252.0,
        "load_seconds": 1.25,
        "requests": 10,
        "queued": 0,
        "pinned": False,
    }
    return InstanceInfo(**defaults | changes)


def stats_of(model: str, state: str = "ready", **changes: Any) -> ModelStats:
    defaults: dict[str, Any] = {
        "model": model,
        "state": state,
        "device": None,
        "memory_bytes": 0 if state == "unloaded" else GIB,
        "peak_memory_bytes": 0,
        "inference_count": 0,
        "errors": {},
        "queued": 0,
        "average_latency_seconds": None,
        "p50_latency_seconds": None,
        "p99_latency_seconds": None,
        "average_compute_seconds": None,
        "requests_per_second": 0.0,
        "loads": 0,
        "evictions": 0,
        "crashes": 0,
        "last_load_seconds": None,
        "last_used_at": None,
    }
    return ModelStats(**defaults | changes)


def a_device(
    name: str = "cpu", used: int = 0, free: int = 8 * GIB, capacity: int = 8 * GIB, **changes: Any
) -> DeviceInfo:
    defaults: dict[str, Any] = {
        "kind": "cpu",
        "hardware": "Some CPU",
        "uuid": "",
        "total_bytes": capacity,
        "foreign_bytes": 0,
        "available": True,
    }
    sizes: dict[str, Any] = {"used_bytes": used, "free_bytes": free, "capacity_bytes": capacity}
    return DeviceInfo(name=name, **sizes, **defaults | changes)


def a_gpu(name: str, **changes: Any) -> DeviceInfo:
    readings = GpuReadings(utilization_percent=87, temperature_celsius=61, power_watts=412.3)
    gpu: dict[str, Any] = {"kind": "cuda", "hardware": "NVIDIA H200", "gpu": readings}
    return a_device(name, **gpu | changes)


def a_report(stats: Any = (), instances: Any = (), devices: Any = (), **health: Any) -> TopReport:
    defaults: dict[str, Any] = {
        "status": "ok",
        "version": "0.1.0",
        "pid": 1,
        "uptime_seconds": 8040.0,
        "memory_bytes": 38 << 20,
        "models": len(stats),
        "instances": len(instances),
        "queued": sum(one.queued for one in stats),
        "socket": "/run/sired.sock",
        "python": "3.11",
    }
    return TopReport(
        health=HealthReport(**defaults | health),
        devices=tuple(devices) or (a_device(),),
        instances=tuple(instances),
        stats=StatsReport(
            models=tuple(stats),
            totals=StatsTotals(inference_count=0, errors=0, loads=0, evictions=0, crashes=0),
        ),
    )


def a_full_report() -> TopReport:
    """Two GPUs and a CPU, and a model in every state."""
    busy = {
        "requests_per_second": 1284.2,
        "p50_latency_seconds": 0.0041,
        "p99_latency_seconds": 0.0123,
        "errors": {"InvalidInput": 3},
        "queued": 12,
    }
    return a_report(
        stats=[
            stats_of("mnist"),
            stats_of("unused", "unloaded"),
            stats_of("resnet50", "busy", **busy),
            stats_of("whisper-large", "loading"),
        ],
        instances=[
            an_instance("mnist", expires_in_seconds=None),
            an_instance("resnet50", "cuda0", state="busy"),
            an_instance("whisper-large", "cuda1", state="loading", pinned=True),
        ],
        devices=[
            a_gpu("cuda0", used=GIB, free=5 * GIB),
            a_gpu("cuda1", used=GIB, free=7 * GIB),
            a_device("cpu", used=GIB, free=7 * GIB, utilization_percent=12.4),
        ],
    )


def lines_of(report: TopReport, width: int = 80, height: int = 24, **options: Any) -> list[str]:
    return frame(report, width, height, **options).plain.split("\n")


def line_with(text: str, lines: list[str]) -> str:
    return next(line for line in lines if text in line)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (200, 60), (40, 8), (20, 3), (1, 1)])
def test_a_frame_never_exceeds_the_screen(width: int, height: int) -> None:
    screen = Console(width=width, height=height, color_system=None)
    drawn = screen.render_lines(frame(a_full_report(), width, height, footer="q quits"))
    assert len(drawn) <= height
    assert all(sum(segment.cell_length for segment in line) <= width for line in drawn)


def test_eighty_columns_hold_all_that_matters() -> None:
    lines = lines_of(a_full_report())
    for title in ("STATE", "DEVICE", "MEMORY", "REQ/S", "P50", "P99", "QUEUE", "ERR", "EXPIRES"):
        assert title in line_with("MODEL", lines)
    for title in ("USED", "OTHERS", "FREE", "UTIL", "TEMP", "POWER"):
        assert title in line_with("DEVICE", lines)
    assert line_with("resnet50", lines).split() == (
        [
            "■",
            "resnet50",
            "busy",
            "cuda0",
            "1",
            "GiB",
            "1,284",
            "4.10ms",
            "12.3ms",
            "12",
            "3",
            "4:12",
        ]
    )
    assert line_with("cuda0", lines).endswith("1 GiB    2 GiB    5 GiB    8 GiB  87% 61°C 412 W")


def test_a_wide_screen_is_filled_with_more_columns_and_longer_bars() -> None:
    narrow, wide = lines_of(a_full_report(), 80), lines_of(a_full_report(), 200, 60)
    for title in ("PEAK", "COMPUTE", "LOADS", "EVICTED", "CRASHES", "IDLE"):
        assert title in line_with("MODEL", wide)
    assert "NVIDIA H200" in line_with("cuda0", wide)
    assert line_with("cuda0", wide).count(FREE) > 3 * line_with("cuda0", narrow).count(FREE)


def test_figures_stand_under_their_titles() -> None:
    lines = lines_of(a_full_report())
    title, row = line_with("MODEL", lines), line_with("resnet50", lines)
    for name, value in (("REQ/S", "1,284"), ("P99", "12.3ms"), ("EXPIRES", "4:12")):
        assert title.index(name) + len(name) == row.index(value) + len(value)


def test_a_bar_shows_models_others_and_what_is_free_in_proportion() -> None:
    device = a_device(used=4 * GIB, free=2 * GIB, capacity=8 * GIB)
    instances = [an_instance("big", memory_bytes=3 * GIB), an_instance("small")]
    drawn = frame(a_report(instances=instances, devices=[device]), 80, 24)
    bar = "".join(re.findall(f"[{USED}{FOREIGN}{FREE}]", drawn.plain))
    assert bar.count(USED) == pytest.approx(len(bar) / 2, abs=1)
    assert bar.count(FOREIGN) == pytest.approx(len(bar) / 4, abs=1)
    assert bar.count(FREE) == pytest.approx(len(bar) / 4, abs=1)
    colours = colours_of(["big", "small"])
    shares = {str(span.style): span.end - span.start for span in drawn.spans}
    assert shares[colours["big"]] > shares[colours["small"]] > 0


def test_a_model_too_small_for_its_share_of_a_bar_is_seen_all_the_same() -> None:
    device = a_device(used=1 << 20, free=8 * GIB - (1 << 20))
    report = a_report(instances=[an_instance("tiny", memory_bytes=1 << 20)], devices=[device])
    assert line_with("cpu", lines_of(report)).count(USED) == 1


def test_a_device_that_went_away_says_so() -> None:
    assert "unavailable" in line_with(
        "cpu", lines_of(a_report(devices=[a_device(available=False)]))
    )


def test_working_models_come_first_and_unloaded_ones_last() -> None:
    names = [row.stats.model for row in rows_of(a_full_report())]
    assert names == ["resnet50", "whisper-large", "mnist", "unused"]


def test_loaded_models_at_rest_are_sorted_by_their_last_use() -> None:
    report = a_report(
        stats=[stats_of("early"), stats_of("late")],
        instances=[an_instance("early", idle_seconds=99), an_instance("late", idle_seconds=1)],
    )
    assert [row.stats.model for row in rows_of(report)] == ["late", "early"]


def test_a_model_says_when_it_expires_or_that_it_never_does() -> None:
    lines = lines_of(a_full_report())
    assert line_with("mnist", lines).endswith("never")
    assert line_with("whisper-large", lines).endswith("pinned")


def test_a_model_on_several_devices_is_one_row_that_names_them() -> None:
    instances = [an_instance("bert", device) for device in ("cuda1", "cuda0", "cuda1")]
    lines = lines_of(a_report(stats=[stats_of("bert")], instances=instances), 120)
    assert "cuda0 cuda1 x2" in line_with("bert", lines)


def test_models_that_do_not_fit_the_screen_are_counted() -> None:
    report = a_report(stats=[stats_of(f"model-{n:02}") for n in range(40)])
    lines = lines_of(report, height=24, footer="q quits")
    shown = [line for line in lines if "model-" in line]
    assert f"{40 - len(shown)} more models" in lines[-3]
    assert lines[-1] == "q quits"
    assert len(lines) == 24


def test_without_models_the_view_says_how_to_add_one() -> None:
    assert "sire register" in lines_of(a_report())[-1]


def test_problems_of_the_daemon_stand_below_the_header() -> None:
    lines = lines_of(a_report(problems=("NVML is missing.",)))
    assert lines[1] == "! NVML is missing."


def test_when_the_daemon_is_gone_the_last_figures_stay_but_dimmed() -> None:
    drawn = frame(a_full_report(), 80, 24, outdated="daemon not running, retrying…")
    first, *rest = drawn.split("\n")
    assert "daemon not running, retrying…" in first.plain
    assert any("resnet50" in line.plain for line in rest)
    assert all(any(span.style == "dim" for span in line.spans) for line in rest if line.plain)


def test_no_color_leaves_no_colour_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    console = Console(width=80, force_terminal=True, color_system="256")
    with console.capture() as captured:
        console.print(frame(a_full_report(), 80, 24))
    assert "38;5" not in captured.get()


def test_models_have_different_colours_that_do_not_change_as_others_come() -> None:
    few, more = colours_of(["bert", "mnist"]), colours_of(["bert", "mnist", "resnet50"])
    assert len(set(more.values())) == 3
    assert few.items() <= more.items()
    many = colours_of(f"model-{n}" for n in range(2 * len(PALETTE)))
    assert set(many.values()) == set(PALETTE)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (0.00041, "0.41ms"), (0.0041, "4.10ms"), (0.123, "123ms"), (12.34, "12.3s")],
)
def test_latencies_have_three_digits(seconds: float | None, text: str) -> None:
    assert latency(seconds).plain == text


@pytest.mark.parametrize(
    ("per_second", "text"), [(0, "-"), (0.1, "0.10"), (12.34, "12.3"), (12345.6, "12,346")]
)
def test_rates_have_three_digits(per_second: float, text: str) -> None:
    assert rate(per_second).plain == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "-"), (42.9, "0:42"), (252, "4:12"), (7391, "2:03:11"), (259200, "3 days")],
)
def test_running_times_read_like_a_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds).plain == text
