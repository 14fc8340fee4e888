"""``sire stats``."""

import os
import shutil
import sys
import time
from contextlib import suppress
from typing import Annotated

import typer

from sire.client.daemon_client import DaemonClient
from sire.errors import InvalidConfiguration
from sire.protocol.replies import HistoryReport, StatsReport
from sire.protocol.requests import History, Stats
from sire.units import parse_duration
from sire_cli.daemon_connection import connect
from sire_cli.options.completion import complete_model
from sire_cli.options.durations import parse_option
from sire_cli.stats import history, tables
from sire_cli.terminal.output import AsJson, print_json

_WATCH_SECONDS = 2.0
# The period that --plot draws without --since.
_PLOTTED_SECONDS = 3600.0
# Steps requested for a table of one model, and for sums or JSON; a plot has one per column.
_ROWS, _POINTS = 24, 300
_CLEAR = "\x1b[H\x1b[2J"


def stats(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Model to show in full; all models if omitted.",
            autocompletion=complete_model,
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="DURATION",
            help="Show the history of this period, such as 2d.",
        ),
    ] = None,
    plot: Annotated[
        bool, typer.Option("--plot", help="Plot latency and memory over time; 1h, or as --since.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every 2 seconds until Ctrl-C.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show request statistics, in total or over time.

    Totals count from the start of the daemon. The history has one entry per minute, survives
    restarts, and is kept for a week by default (setting history.keep_for).
    """
    seconds = _seconds(since) if since else _PLOTTED_SECONDS if plot else None
    with connect() as daemon, suppress(*([KeyboardInterrupt] if watch else [])):
        while True:
            _show(daemon, name, seconds, plot=plot, json=json, clear=watch and not json)
            if not watch:
                return
            if not json:  # a separator where the screen is not cleared
                sys.stdout.write("\n")
            sys.stdout.flush()
            time.sleep(_WATCH_SECONDS)


def _seconds(since: str) -> float:
    seconds = parse_option("--since", since, parse_duration)
    if seconds <= 0:
        raise InvalidConfiguration(
            f"--since must be greater than 0 (got {since!r}).", hint="Example: --since 2d"
        )
    return seconds


def _show(
    daemon: DaemonClient,
    name: str | None,
    seconds: float | None,
    *,
    plot: bool,
    json: bool,
    clear: bool,
) -> None:
    if seconds is None:
        totals = daemon.expect(StatsReport, Stats(name=name))
        _clear(clear)
        _show_totals(totals, name, json=json)
        return
    columns, lines = shutil.get_terminal_size()
    points = columns if plot else _ROWS if name and not json else _POINTS
    report = daemon.expect(HistoryReport, History(seconds=seconds, name=name, points=points))
    _clear(clear)
    if json:
        print_json(report)
    elif plot:
        _plot(report, seconds, columns, lines - 2)
    else:
        (history.print_steps if name else history.print_sums)(report)


def _show_totals(report: StatsReport, name: str | None, *, json: bool) -> None:
    if json:
        print_json(report.models[0] if name is not None else report)
    elif name is not None:
        tables.print_one(report.models[0])
    else:
        tables.print_all(report)


def _clear(clear: bool) -> None:
    if clear and sys.stdout.isatty():
        sys.stdout.write(_CLEAR)


def _plot(report: HistoryReport, seconds: float, columns: int, lines: int) -> None:
    if not report.steps:
        history.print_empty()
        return
    from sire_cli.stats.charts import draw  # noqa: PLC0415 (its import is slow)

    now = time.time()
    since = max(now - seconds, report.steps[0].at)
    colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    drawn = draw(report, since, now, columns, lines, colours=colours)
    sys.stdout.write(f"{drawn}\n")
