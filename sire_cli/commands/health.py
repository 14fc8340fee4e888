"""``sire health``."""

from typing import Annotated

import typer

from sire.protocol.replies import HealthReport
from sire.protocol.requests import Health
from sire.units import format_bytes, format_duration
from sire_cli.daemon_connection import expect
from sire_cli.options.completion import complete_model
from sire_cli.terminal.output import AsJson, print_json, print_message, print_pairs


def health(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="Model to load and check as well.",
            autocompletion=complete_model,
        ),
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Check every step of a prediction, down to a worker.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Show the state of the daemon.

    With --deep or NAME, fail if a prediction would fail.
    """
    print_health(expect(HealthReport, Health(deep=deep, model=name)), json)


def print_health(report: HealthReport, json: bool) -> None:
    """Print a health report."""
    if json:
        print_json(report)
        return
    print_pairs(
        [
            ("Status", report.status),
            ("Version", report.version),
            ("PID", str(report.pid)),
            ("Uptime", format_duration(report.uptime_seconds)),
            ("Memory", format_bytes(report.memory_bytes)),
            ("Models", f"{report.models} registered, {_loaded(report)}"),
            ("Queued", str(report.queued)),
            ("Socket", report.socket),
            ("HTTP", ", ".join(report.addresses) or None),
            ("Python", report.python),
            *[("Works", f"{each.step}, {format_duration(each.seconds)}") for each in report.checks],
        ]
    )
    for problem in report.problems:
        print_message(f"sire: warning: {problem}")


def _loaded(report: HealthReport) -> str:
    most = f" of {report.max_models} at most" if report.max_models else ""
    processes = f" in {report.instances} processes" if report.instances != report.loaded else ""
    return f"{report.loaded} loaded{most}{processes}"
