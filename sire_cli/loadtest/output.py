"""The output of ``sire bench`` for people."""

import sys

from sire.units import format_duration
from sire_cli.loadtest.plan import LoadPlan
from sire_cli.loadtest.report import LoadFigures, LoadReport
from sire_cli.terminal.output import print_message, print_pairs, print_table

_COLUMNS = (
    "MODEL",
    "ANSWERS>",
    "ERRORS>",
    "P50>",
    "P90>",
    "P99>",
    "MAX>",
    "LOADS>",
    "EVICTIONS>",
)


def print_report(plan: LoadPlan, report: LoadReport) -> None:
    """Print the figures of the run and, for several models, a table with one row each."""
    print_pairs(
        [
            (
                "requests",
                f"{report.requests} in {format_duration(report.seconds)}, {_arrivals(plan)}",
            ),
            (_answers(plan), _count(plan, report)),
            ("errors", _errors(report)),
            ("withdrawn", str(report.withdrawn) if report.withdrawn else None),
            ("average", _time(report.average_latency_seconds)),
            ("p50", _time(report.p50_latency_seconds)),
            ("p90", _time(report.p90_latency_seconds)),
            ("p99", _time(report.p99_latency_seconds)),
            ("max", _time(report.max_latency_seconds)),
            ("loads", _number(report.loads)),
            ("evictions", _number(report.evictions)),
            ("crashes", _number(report.crashes) if report.crashes else None),
            ("overhead", _overhead(report)),
            ("seed", str(report.seed) if plan.at_random else None),
        ]
    )
    if len(report.models) > 1:
        sys.stdout.write("\n")
        print_table(_COLUMNS, [(one.model, *_row(one)) for one in report.models])


def print_errors(report: LoadReport) -> None:
    """Print the message of each kind of error, and how many jobs remain."""
    for code, message in report.messages.items():
        print_message(f"{code}: {message}")
    if report.jobs_left:
        print_message(f"{report.jobs_left} jobs remain. See: sire job ls; sire job cancel --all")


def _arrivals(plan: LoadPlan) -> str:
    if plan.rate is not None:
        return f"{plan.rate:g}/s due, {'evenly' if plan.evenly else 'at random'}"
    clients = "1 client" if plan.clients == 1 else f"{plan.clients} clients"
    return clients + (f" with a delay of {format_duration(plan.delay)}" if plan.delay else "")


def _answers(plan: LoadPlan) -> str:
    return "accepted" if plan.jobs and not plan.results else "answers"


def _count(plan: LoadPlan, report: LoadReport) -> str:
    if not plan.results and not plan.jobs:
        return f"discarded; {report.requests_per_second:.1f}/s sent"
    return f"{report.answers}, {report.answers_per_second:.1f}/s"


def _errors(report: LoadReport) -> str | None:
    return ", ".join(f"{code} {count}" for code, count in report.errors.items()) or None


def _overhead(report: LoadReport) -> str:
    cpu = f"{report.own_cpu_seconds / report.seconds:.0%} of a core"
    late = _time(report.p99_late_seconds)
    return f"{cpu}; 99% of requests sent within {late} of being due" if late else cpu


def _row(one: LoadFigures) -> tuple[str, ...]:
    return (
        str(one.answers),
        str(sum(one.errors.values())),
        _time(one.p50_latency_seconds) or "",
        _time(one.p90_latency_seconds) or "",
        _time(one.p99_latency_seconds) or "",
        _time(one.max_latency_seconds) or "",
        _number(one.loads) or "",
        _number(one.evictions) or "",
    )


def _number(count: int | None) -> str | None:
    return None if count is None else str(count)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else format_duration(seconds)
