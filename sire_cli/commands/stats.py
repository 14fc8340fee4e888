"""``sire stats``."""

from typing import Annotated

import typer

from sire_cli.completion import complete_model
from sire_cli.link import expect
from sire_cli.output import AsJson, print_json, print_table, say
from sired.protocol.counts import ModelStats
from sired.protocol.replies import StatsReport
from sired.protocol.requests import Stats
from sired.units import format_bytes, format_duration

_COLUMNS = (
    "MODEL",
    "STATE",
    "ANSWERS>",
    "ERRORS>",
    "PER SECOND>",
    "AVERAGE>",
    "P50>",
    "P99>",
    "COMPUTE>",
    "MEMORY>",
    "PEAK>",
    "LOADS>",
    "EVICTIONS>",
    "SLEEPS>",
    "WAKES>",
    "CRASHES>",
    "CACHE HITS>",
)


def stats(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]", help="One model; otherwise all.", autocompletion=complete_model
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Show what was counted since the daemon started."""
    report = expect(StatsReport, Stats(name=name))
    if json:
        print_json(report.models[0] if name is not None and report.models else report)
    elif report.models:
        print_table(_COLUMNS, [_row(model) for model in report.models])
    else:
        say("No models yet. Add one: sire register NAME PATH")


def _row(model: ModelStats) -> tuple[str, ...]:
    return (
        model.model,
        model.state,
        str(model.inference_count),
        str(sum(model.errors.values())),
        f"{model.requests_per_second:.1f}",
        _time(model.average_latency_seconds),
        _time(model.p50_latency_seconds),
        _time(model.p99_latency_seconds),
        _time(model.average_compute_seconds),
        format_bytes(model.memory_bytes),
        format_bytes(model.peak_memory_bytes),
        str(model.loads),
        str(model.evictions),
        str(model.sleeps),
        str(model.wakes),
        str(model.crashes),
        _hits(model),
    )


def _hits(model: ModelStats) -> str:
    asked = model.cache_hits + model.cache_misses
    return f"{model.cache_hits} of {asked}" if asked else ""


def _time(seconds: float | None) -> str:
    return "" if seconds is None else format_duration(seconds)
