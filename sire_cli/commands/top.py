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
from sire_cli.link import connect, expect
from sire_cli.terminal.output import AsJson, print_json

_SHORTEST_SECONDS = 0.1
# Where there is no terminal, every column that matters is to fit.
_PLAIN_WIDTH = 120


def top(
    interval: Annotated[
        str, typer.Option("--interval", metavar="DURATION", help="Time between two looks.")
    ] = "1s",
    once: Annotated[bool, typer.Option("--once", help="Print one look and exit.")] = False,
    json: AsJson = False,
) -> None:
    """Watch devices, models, jobs and events; keys load, unload and pin models, ? tells them.

    Where stdout is no terminal, one look is printed. With --json, one line of JSON is printed for
    every look.
    """
    pause = _pause(interval)
    if json:
        _print_reports(pause, once=once)
    elif once or not sys.stdout.isatty():
        _print_frame(expect(TopReport, Top()))
    else:
        _watch(expect(TopReport, Top()), pause)


def _pause(interval: str) -> float:
    seconds = parse_duration(interval)
    if not _SHORTEST_SECONDS <= seconds < math.inf:
        raise InvalidConfiguration(
            f"The interval cannot be {interval}.", hint="Take 100ms or more, such as 500ms or 5s."
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


# Rich takes longer to import than most commands take in all, hence the imports below.


def _print_frame(report: TopReport) -> None:
    from rich.console import Console  # noqa: PLC0415

    from sire_cli.top.view import frame  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else _PLAIN_WIDTH)
    console.print(frame(report, console.width), soft_wrap=True)


def _watch(report: TopReport, pause: float) -> None:
    from rich.console import Console  # noqa: PLC0415

    from sire.paths import find_paths  # noqa: PLC0415
    from sire_cli.top.screen import show  # noqa: PLC0415

    show(Console(), find_paths(), report, pause)
