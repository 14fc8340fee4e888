"""Charts of latency, memory and answers over time, drawn with characters."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import plotext

from sire.protocol.counts import ModelHistory
from sire.protocol.replies import HistoryReport
from sire.units import format_bytes
from sire_cli.stats.history import sums

# Without colours, letters distinguish the lines.
_LETTERS = "abcdef"
_COLOURS = (74, 173, 109, 179, 140, 168)
_LEAST_HEIGHT = 8
_X_TICKS = 5
_Y_TICKS = 3
_SECONDS_A_DAY = 86_400


@dataclass(frozen=True, slots=True)
class Series:
    """A line of a chart: values by time; the line breaks where a step is missing."""

    name: str
    values: dict[float, float]


@dataclass(frozen=True, slots=True)
class Chart:
    """Lines with a common axis, logarithmic if values differ by orders of magnitude."""

    title: str
    lines: list[Series]
    write: Callable[[float], str]
    logarithmic: bool = False

    def place(self, value: float) -> float:
        """The position of a value on the axis."""
        return math.log10(value) if self.logarithmic else value

    def ticks(self) -> list[float]:
        """The labelled values of the axis, lowest first."""
        values = [value for line in self.lines for value in line.values.values()]
        top = max(values, default=0) or 1.0
        if not self.logarithmic or not values:
            return [top * n / _Y_TICKS for n in range(_Y_TICKS + 1)]
        lowest, highest = math.floor(math.log10(min(values))), math.ceil(math.log10(top))
        return [10.0**n for n in range(lowest, max(highest, lowest + 1) + 1)]


def draw(
    report: HistoryReport, since: float, until: float, width: int, height: int, *, colours: bool
) -> str:
    """Draw the charts of a history, one below the other.

    Args:
        report: the history of one model or several.
        since: time of the left edge, in seconds since 1970.
        until: time of the right edge, in seconds since 1970.
        width: characters per line.
        height: lines of all charts together; each chart has at least eight.
        colours: distinguish lines by colours instead of letters.
    """
    models = {step.model for step in report.steps}
    charts = _charts_of_one(report.steps) if len(models) == 1 else _charts_of_many(report.steps)
    chart_height = max(_LEAST_HEIGHT, height // len(charts))
    span, size = (since, until), (width, chart_height)
    step = report.step_seconds
    return "\n".join(_draw_chart(chart, step, span, size, colours=colours) for chart in charts)


def _charts_of_one(steps: Sequence[ModelHistory]) -> list[Chart]:
    p50 = {s.at: s.p50_latency_seconds for s in steps if s.p50_latency_seconds is not None}
    p99 = {s.at: s.p99_latency_seconds for s in steps if s.p99_latency_seconds is not None}
    memory = {step.at: float(step.memory_bytes) for step in steps}
    answers = {step.at: float(step.inference_count) for step in steps}
    return [
        Chart("latency", [Series("p50", p50), Series("p99", p99)], _latency, logarithmic=True),
        Chart("memory", [Series(steps[0].model, memory)], format_bytes),
        Chart("answers", [Series(steps[0].model, answers)], "{:,.0f}".format),
    ]


def _charts_of_many(steps: Sequence[ModelHistory]) -> list[Chart]:
    """Charts of the most used models; more lines would be unreadable."""
    busiest = sorted(sums(steps), key=lambda one: (-one.inference_count, one.model))
    names = [one.model for one in busiest[: len(_LETTERS)]]
    latency: dict[str, dict[float, float]] = {name: {} for name in names}
    memory: dict[str, dict[float, float]] = {name: {} for name in names}
    for step in steps:
        if step.model in latency:
            memory[step.model][step.at] = float(step.memory_bytes)
            if step.p99_latency_seconds is not None:
                latency[step.model][step.at] = step.p99_latency_seconds
    return [
        Chart("p99", [Series(name, latency[name]) for name in names], _latency, logarithmic=True),
        Chart("memory", [Series(name, memory[name]) for name in names], format_bytes),
    ]


def _latency(seconds: float) -> str:
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def _draw_chart(
    chart: Chart, step: float, span: tuple[float, float], size: tuple[int, int], *, colours: bool
) -> str:
    figure = plotext.figure
    figure.clear()
    figure.theme("simple" if colours else "colorless")
    figure.plot_size(size[0], size[1] - 1)
    for line, colour, letter in zip(chart.lines, _COLOURS, _LETTERS, strict=False):
        if line.values:
            marker = plotext.marker("braille", colour) if colours else letter
            figure.draw(_signal(figure, chart, line, step, marker))
    ticks = chart.ticks()
    _set_axis(figure.ruler("y"), [chart.place(value) for value in ticks], map(chart.write, ticks))
    times = [span[0] + (span[1] - span[0]) * n / (_X_TICKS - 1) for n in range(_X_TICKS)]
    form = "%H:%M" if span[1] - span[0] <= _SECONDS_A_DAY else "%a %H:%M"
    _set_axis(figure.ruler("x"), times, (time.strftime(form, time.localtime(at)) for at in times))
    text = figure.build().string(colorless=not colours).rstrip("\n")
    return f"{_legend(chart, colours=colours)}\n{text}"


def _signal(figure: Any, chart: Chart, line: Series, step: float, marker: Any) -> Any:
    times = sorted(line.values)
    heights = [chart.place(line.values[at]) for at in times]
    signal = figure.signal(times, heights, marker=marker).lines()
    for place, (before, at) in enumerate(pairwise(times), start=1):
        if at - before > step:
            signal.line(place, False)
    return signal


def _set_axis(ruler: Any, places: list[float], labels: Iterable[str]) -> None:
    ruler.lim(places[0], places[-1])
    ruler.ticks(places, list(labels))


def _legend(chart: Chart, *, colours: bool) -> str:
    if len(chart.lines) == 1:
        return chart.title
    pairs = zip(chart.lines, _COLOURS, _LETTERS, strict=False)
    entries = [
        f"\x1b[38;5;{colour}m━ {line.name}\x1b[0m" if colours else f"{letter}={line.name}"
        for line, colour, letter in pairs
    ]
    return f"{chart.title}:  {'  '.join(entries)}"
