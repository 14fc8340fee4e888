"""One report drawn to the size of a screen; nothing here knows a terminal."""

from collections.abc import Sequence

from rich.text import Text

from sire.protocol.replies import HealthReport, TopReport
from sire.units import format_bytes
from sire_cli.top.activity import event_lines, job_lines
from sire_cli.top.devices import device_lines
from sire_cli.top.format import clock
from sire_cli.top.keys import HELP, Control
from sire_cli.top.models import model_lines
from sire_cli.top.rate_history import MINUTES, RateHistory, sparkline

_STATUS_STYLES = {"ok": "green"}
# A screen so low is for devices and models alone.
_LOW = 16
_PEAK_WIDTH = len(" peak 1,234.5 req/s")
# Events of a single look.
_FEW = 10
# A heading and two lines.
_SHORTEST_SECTION = 3
_NO_MODELS = "No models are registered. Add one: sire register NAME FILE"


def frame(
    report: TopReport,
    width: int,
    height: int | None = None,
    *,
    lost: str = "",
    footer: str = "",
    control: Control | None = None,
    history: RateHistory | None = None,
) -> Text:
    """Draw one frame.

    Args:
        report: what the daemon said last.
        width: cells in a line.
        height: lines there are; None for as many as it takes.
        lost: why the figures are old; "" while they are not.
        footer: what the last line says.
        control: what the user has chosen.
        history: what was seen before this report; None for a single look.
    """
    control = control or Control()
    header = _header(report, width, lost)
    if history is not None and (height is None or height >= _LOW):
        header.append(_lately(history, width))
    room = None if height is None else height - len(header) - 1 - 2 * bool(footer)
    body = _help() if control.helping else _body(report, width, room, control, history)
    if lost:
        for line in body:
            line.stylize("dim")
    drawn = Text("\n").join(_with_footer([*header, Text(), *body], height, footer))
    drawn.no_wrap, drawn.overflow = True, "ellipsis"
    return drawn


def _bad(count: int) -> str:
    return "red" if count else ""


def _help() -> list[Text]:
    return [Text.assemble((f"  {keys:<12}", "bold"), words) for keys, words in HELP]


def _lately(history: RateHistory, width: int) -> Text:
    """All requests of the last minutes in one line."""
    title = f"last {MINUTES} minutes "
    rates = history.rates(None, max(1, width - len(title) - _PEAK_WIDTH))
    peak = max((one for one in rates if one is not None), default=0.0)
    line = Text.assemble((title, "dim"), sparkline(rates, "green"))
    return line.append(f" peak {peak:,.1f} req/s" if peak else " nothing asked", "dim")


def _body(
    report: TopReport, width: int, room: int | None, control: Control, history: RateHistory | None
) -> list[Text]:
    """Devices, models, jobs and events, as far as each has room."""
    devices = device_lines(report.devices, report.instances, width)
    rows = control.rows(report)
    models = model_lines(report, rows, width, history) if rows else [_no_models(control)]
    names = [row.stats.model for row in rows]
    place = names.index(control.selected) + 1 if control.selected in names else 0
    if place:
        models[place] = _selected(models[place], width)
    jobs = job_lines(report.jobs, width)
    events = event_lines(history.events if history else report.events[: -_FEW - 1 : -1], width)
    if room is not None:
        # Devices keep up to half the screen, models two thirds of what is left of it; jobs and
        # events share what those leave, an empty line above each.
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
        return Text(f"No model has {control.filter!r} in its name.", "dim")
    return Text(_NO_MODELS, "dim")


def _with_footer(lines: list[Text], height: int | None, footer: str) -> list[Text]:
    if height is None or not footer:
        return lines[:height]
    blank = [Text()] * (height - len(lines) - 1)
    return [*lines[: height - 1], *blank, Text(footer, "dim")]


def _header(report: TopReport, width: int, lost: str) -> list[Text]:
    health = report.health
    state = (lost, "bold red") if lost else _status(health)
    left = Text.assemble(("sire", "bold"), f" {health.version}  ", ("● ", state[1]), state)
    if not lost:
        left.append("  up ").append_text(clock(health.uptime_seconds))
    totals = _totals(report)
    while totals and left.cell_len + 2 + Text("  ").join(totals).cell_len > width:
        totals.pop()
    right = Text("  ").join(totals)
    line = Text.assemble(left, " " * max(2, width - left.cell_len - right.cell_len), right)
    problems = [Text(f"! {problem}", "yellow") for problem in health.problems]
    return [line, *problems]


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
    """The heading and so many lines, the selected among them; the last counts the others."""
    if len(lines) <= height:
        return list(lines)
    first = max(1, selected - (height - 3)) if selected else 1
    shown = lines[first : first + height - 2]
    rest = len(lines) - 1 - len(shown)
    return [lines[0], *shown, Text(f"  … {rest} more {what}", "dim")]
