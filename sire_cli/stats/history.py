"""The history of models: the sum of each model, or the steps of one."""

import time
from collections.abc import Iterable

from sire.protocol.counts import ModelHistory
from sire.protocol.replies import HistoryReport
from sire.units import format_bytes, format_duration
from sire_cli.stats.tables import format_time
from sire_cli.terminal.output import print_message, print_table

_FIGURES = (
    "ANSWERS>",
    "ERRORS>",
    "P50>",
    "P99>",
    "MEMORY>",
    "LOADS>",
    "EVICTED>",
    "CRASHES>",
)


def print_sums(report: HistoryReport) -> None:
    """Print one row per model: its sums, and when it was last active."""
    rows = [(one.model, local_clock(one.at), *_figures(one)) for one in sums(report.steps)]
    if rows:
        print_table(("MODEL", "LAST ACTIVE", *_FIGURES), rows)
    else:
        print_empty()


def print_steps(report: HistoryReport) -> None:
    """Print one row per step in which the model was active."""
    if report.steps:
        rows = [(local_clock(one.at), *_figures(one)) for one in report.steps]
        print_table(("FROM", *_FIGURES), rows)
        print_message(f"Each row covers {format_duration(report.step_seconds)}.")
    else:
        print_empty()


def print_empty() -> None:
    """Print that the history is empty."""
    print_message("No activity in this period.")


def sums(steps: Iterable[ModelHistory]) -> list[ModelHistory]:
    """Sum up the steps of each model; ``at`` becomes the time of its last activity."""
    by_model: dict[str, list[ModelHistory]] = {}
    for step in steps:
        by_model.setdefault(step.model, []).append(step)
    return [_sum(of_model) for _, of_model in sorted(by_model.items())]


def _sum(steps: list[ModelHistory]) -> ModelHistory:
    answers = sum(step.inference_count for step in steps)
    weighted_p50 = sum((step.p50_latency_seconds or 0.0) * step.inference_count for step in steps)
    active = [step.at for step in steps if step.inference_count or step.errors or step.loads]
    return ModelHistory(
        at=max(active, default=steps[-1].at),
        model=steps[0].model,
        inference_count=answers,
        errors=sum(step.errors for step in steps),
        p50_latency_seconds=weighted_p50 / answers if answers else None,
        p99_latency_seconds=max(
            (step.p99_latency_seconds for step in steps if step.p99_latency_seconds), default=None
        ),
        memory_bytes=max(step.memory_bytes for step in steps),
        loads=sum(step.loads for step in steps),
        evictions=sum(step.evictions for step in steps),
        crashes=sum(step.crashes for step in steps),
    )


def _figures(step: ModelHistory) -> tuple[str, ...]:
    counts = (step.loads, step.evictions, step.crashes)
    return (
        f"{step.inference_count:,}" if step.inference_count else "",
        f"{step.errors:,}" if step.errors else "",
        format_time(step.p50_latency_seconds),
        format_time(step.p99_latency_seconds),
        format_bytes(step.memory_bytes) if step.memory_bytes else "",
        *(f"{count:,}" if count else "" for count in counts),
    )


def local_clock(at: float) -> str:
    """A time of day in local time, with the date if it is not today."""
    then, today = time.localtime(at), time.localtime()
    same_day = (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M" if same_day else "%a %d %b %H:%M", then)
