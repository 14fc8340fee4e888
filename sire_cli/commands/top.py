"""``sire top``."""

import math
import sys
import time
from typing import Annotated

import typer

from sire.errors import InvalidConfiguration
from sire.protocol.replies import TopReport
from sire.protocol.requests import Top
from sire.units import parse_duration
from sire_cli.daemon_connection import connect, expect
from sire_cli.options.durations import parse_option
from sire_cli.terminal.output import AsJson, print_json

_SHORTEST_SECONDS = 0.1
# Off a terminal, wide enough for every important column.
_PLAIN_WIDTH = 120


def top(
    interval: Annotated[
        str,
        typer.Option("--interval", metavar="DURATION", help="Time between updates."),
    ] = "1s",
    once: Annotated[bool, typer.Option("--once", help="Print one update and exit.")] = False,
    json: AsJson = False,
) -> None:
    """Watch devices, models, jobs and events live.

    Press ? for the keys that select, load, unload and pin models. If stdout is not a terminal, the
    command prints one update and exits. With --json, it prints one line of JSON per update.
    """
    pause = _seconds(interval)
    if json:
        _print_reports(pause, once=once)
    elif once or not sys.stdout.isatty():
        _print_frame(expect(TopReport, Top()))
    else:
        _watch(expect(TopReport, Top()), pause)


def _seconds(interval: str) -> float:
    seconds = parse_option("--interval", interval, parse_duration)
    if not _SHORTEST_SECONDS <= seconds < math.inf:
        raise InvalidConfiguration(
            f"--interval must be at least 100ms and finite (got {interval!r}).",
            hint="Example: --interval 5s",
        )
    return seconds


def _print_reports(pause: float, *, once: bool) -> None:
    with connect() as connection:
        while True:
            print_json(connection.expect(TopReport, Top()))
            sys.stdout.flush()
            if once:
                return
            time.sleep(pause)


# Imported in functions, because importing rich takes longer than most commands run.


def _print_frame(report: TopReport) -> None:
    from rich.console import Console  # noqa: PLC0415

    from sire_cli.top.view import frame  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    console.print(frame(report, console.width), soft_wrap=True)


def _watch(report: TopReport, pause: float) -> None:
    from rich.console import Console  # noqa: PLC0415

    from sire_cli.top.screen import show  # noqa: PLC0415

    show(Console(), report, pause)
