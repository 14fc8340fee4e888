"""Draws one report to the size of a screen, without accessing a terminal."""

from collections.abc import Sequence

from rich.text import Text

from sire.printable import printable_drawing
from sire.protocol.replies import HealthReport, TopReport
from sire.units import format_bytes
from sire_cli.top.activity import event_lines, job_lines
from sire_cli.top.devices import device_lines
from sire_cli.top.format import clock
from sire_cli.top.keys import HELP, Control
from sire_cli.top.models import model_lines
from sire_cli.top.rate_history import MINUTES, RateHistory, sparkline

_STATUS_STYLES = {"ok": "green"}
# A lower screen shows devices and models only.
_LEAST_HEIGHT = 16
_PEAK_WIDTH = len(" peak 1,234.5 req/s")
# Events shown by --once.
_MOST_EVENTS = 10
# A heading and two lines.
_SHORTEST_SECTION = 3
_NO_MODELS = "No model is registered. Register one: sire register NAME PATH"


def frame(
    report: TopReport,
    width: int,
    height: int | None = None,
    *,
    outdated: str = "",
    footer: str = "",
    control: Control | None = None,
    history: RateHistory | None = None,
) -> Text:
    """Draw one frame.

    Args:
        report: the latest report.
        width: cells per line.
        height: number of lines; None for no limit.
        outdated: the reason why the report is outdated; "" while it is current.
        footer: text of the last line.
        control: the state of the user interface.
        history: rates and events from earlier reports; None for a single report.
    """
    control = control or Control()
    header = _header(report, width, outdated)
    if history is not None and (height is None or height >= _LEAST_HEIGHT):
        header.append(_recent_rates(history, width))
    room = None if height is None else height - len(header) - 1 - 2 * bool(footer)
    body = _help() if control.helping else _body(report, width, room, control, history)
    if outdated:
        for line in body:
            line.stylize("dim")
    drawing = Text("\n").join(_with_footer([*header, Text(), *body], height, footer))
    drawing.plain = printable_drawing(drawing.plain)
    drawing.no_wrap, drawing.overflow = True, "ellipsis"
    return drawing


def _bad(count: int) -> str:
    return "red" if count else ""


def _help() -> list[Text]:
    return [Text.assemble((f"  {keys:<12}", "bold"), words) for keys, words in HELP]


def _recent_rates(history: RateHistory, width: int) -> Text:
    """Request rates of all models over the last minutes, in one line."""
    title = f"last {MINUTES} minutes "
    rates = history.rates(None, max(1, width - len(title) - _PEAK_WIDTH))
    peak = max((one for one in rates if one is not None), default=0.0)
    line = Text.assemble((title, "dim"), sparkline(rates, "green"))
    return line.append(f" peak {peak:,.1f} req/s" if peak else " no requests", "dim")


def _body(
    report: TopReport, width: int, room: int | None, control: Control, history: RateHistory | None
) -> list[Text]:
    """Devices, models, jobs and events, each cut to its share of the height."""
    devices = device_lines(report.devices, report.instances, width)
    rows = control.rows(report)
    models = model_lines(report, rows, width, history) if rows else [_no_models(control)]
    names = [row.stats.model for row in rows]
    place = names.index(control.selected) + 1 if control.selected in names else 0
    if place:
        models[place] = _selected(models[place], width)
    jobs = job_lines(report.jobs, width)
    events = event_lines(
        history.events if history else report.events[: -_MOST_EVENTS - 1 : -1], width
    )
    if room is not None:
        # Devices get up to half the screen, and models at least two thirds of the remainder; jobs
        # and events share the rest, each below an empty line.
        devices = _cut(devices, max(2, room // 2), "devices")
        room -= len(devices) + 1
        below = sum(len(lines) + 1 for lines in (jobs, events) if lines)
        models = _cut(models, max(2, room - min(below, room // 3)), "models", place)
        room -= len(models)
        jobs = _section(jobs, (room if not events else room // 2) - 1, "jobs")
        room -= len(jobs) + bool(jobs)
        events = events[: room - 1] if room > _SHORTEST_SECTION else []
    sections = [lines for lines in (devices, models, jobs, events) if lines]
    return [line for lines in sections for line in (Text(), *lines)][1:]


def _section(lines: list[Text], height: int, what: str) -> list[Text]:
    return _cut(lines, height, what) if height >= _SHORTEST_SECTION else []


def _selected(line: Text, width: int) -> Text:
    line = line.copy()
    line.pad_right(max(0, width - line.cell_len))
    line.stylize("reverse")
    return line


def _no_models(control: Control) -> Text:
    if control.filter:
        return Text(f"No model name contains {control.filter!r}.", "dim")
    return Text(_NO_MODELS, "dim")


def _with_footer(lines: list[Text], height: int | None, footer: str) -> list[Text]:
    if height is None or not footer:
        return lines[:height]
    blank = [Text()] * (height - len(lines) - 1)
    return [*lines[: height - 1], *blank, Text(footer, "dim")]


def _header(report: TopReport, width: int, outdated: str) -> list[Text]:
    health = report.health
    state = (outdated, "bold red") if outdated else _status(health)
    left = Text.assemble(("sire", "bold"), f" {health.version}  ", ("● ", state[1]), state)
    if not outdated:
        left.append("  up ").append_text(clock(health.uptime_seconds))
    totals = _totals(report)
    while totals and left.cell_len + 2 + Text("  ").join(totals).cell_len > width:
        totals.pop()
    right = Text("  ").join(totals)
    line = Text.assemble(left, " " * max(2, width - left.cell_len - right.cell_len), right)
    problems = [Text(f"! {problem}", "yellow") for problem in health.problems]
    served = [Text(f"HTTP  {'  '.join(health.addresses)}", "dim")] if health.addresses else []
    return [line, *served, *problems]


def _status(health: HealthReport) -> tuple[str, str]:
    return health.status, _STATUS_STYLES.get(health.status, "yellow")


def _totals(report: TopReport) -> list[Text]:
    health, totals = report.health, report.stats.totals
    rate = sum(model.requests_per_second for model in report.stats.models)
    loaded = len({one.model for one in report.instances if one.state != "waiting"})
    return [
        Text(f"{loaded}/{health.models} loaded"),
        Text(f"{rate:,.1f} req/s"),
        Text(f"{health.queued} queued", "yellow" if health.queued else ""),
        Text(f"{totals.errors} error{'' if totals.errors == 1 else 's'}", _bad(totals.errors)),
        Text(f"sired {format_bytes(health.memory_bytes)}", "dim"),
    ]


def _cut(lines: Sequence[Text], height: int, what: str, selected: int = 0) -> list[Text]:
    """Cut lines to a height, keeping heading and selection; the last line counts the rest."""
    if len(lines) <= height:
        return list(lines)
    first = max(1, selected - (height - 3)) if selected else 1
    shown = lines[first : first + height - 2]
    rest = len(lines) - 1 - len(shown)
    return [lines[0], *shown, Text(f"  … {rest} more {what}", "dim")]
