"""One report drawn to the size of a screen; nothing here knows a terminal."""

from collections.abc import Sequence

from rich.text import Text

from sire_cli.top.devices import device_lines
from sire_cli.top.figures import clock
from sire_cli.top.models import model_lines
from sired.protocol.replies import HealthReport, TopReport
from sired.units import format_bytes

_STATUS_STYLES = {"ok": "green"}
_NO_MODELS = "No models are registered. Add one: sire register NAME FILE"


def frame(
    report: TopReport,
    width: int,
    height: int | None = None,
    *,
    lost: str = "",
    footer: str = "",
) -> Text:
    """Draw one frame.

    Args:
        report: what the daemon said last.
        width: cells in a line.
        height: lines there are; None for as many as it takes.
        lost: why the figures are old; "" while they are not.
        footer: what the last line says.
    """
    header = _header(report, width, lost)
    devices = device_lines(report.devices, report.instances, width)
    models = model_lines(report, width) if report.stats.models else [Text(_NO_MODELS, "dim")]
    if height is not None:
        # Devices keep up to half the screen, models get what is left of it.
        room = height - len(header) - 2 - 2 * bool(footer)
        devices = _cut(devices, max(2, room // 2), "devices")
        models = _cut(models, max(2, room - len(devices)), "models")
    body = [Text(), *devices, Text(), *models]
    if lost:
        for line in body:
            line.stylize("dim")
    drawn = Text("\n").join(_with_footer([*header, *body], height, footer))
    drawn.no_wrap, drawn.overflow = True, "ellipsis"
    return drawn


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
        Text(f"{totals.errors} errors", "red" if totals.errors else ""),
        Text(f"sired {format_bytes(health.memory_bytes)}", "dim"),
    ]


def _cut(lines: Sequence[Text], height: int, what: str) -> list[Text]:
    """The first lines, the last of which counts what is not shown."""
    if len(lines) <= height:
        return list(lines)
    return [*lines[: height - 1], Text(f"  … {len(lines) - height + 1} more {what}", "dim")]
