"""``sire bench``."""

import math
import random
from typing import Annotated

import typer

from sire.errors import InvalidConfiguration, error_from
from sire.protocol.content import JSON
from sire.units import parse_duration
from sire_cli.exit_codes import DONE, INTERRUPTED, NO_DAEMON, exit_code
from sire_cli.files import WRITABLE, read_input, read_stdin_once, type_of
from sire_cli.link import connect
from sire_cli.loadtest.plan import LoadInput, LoadPlan
from sire_cli.loadtest.progress import gauge
from sire_cli.loadtest.report import LoadReport
from sire_cli.loadtest.run import put_load
from sire_cli.loadtest.text import print_report, say_errors
from sire_cli.options.arguments import AnswerType, InputType, ModelNames
from sire_cli.options.durations import Timeout, seconds
from sire_cli.terminal.output import AsJson, print_json

_CLIENTS = 8
_SECONDS = 10.0


def bench(
    names: ModelNames,
    input_: Annotated[
        list[str],
        typer.Option("--input", "-i", metavar="FILE", help="What to send; - is stdin; repeatable."),
    ],
    requests: Annotated[
        str | None, typer.Option("--requests", "-n", metavar="N", help="Send so many.")
    ] = None,
    duration: Annotated[
        str | None,
        typer.Option("--seconds", "-s", metavar="S", help="Send for so long; 10 by default."),
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(
            "--concurrency", "-c", metavar="C", help="So many clients at once; 8 by default."
        ),
    ] = None,
    delay: Annotated[
        str | None,
        typer.Option("--delay", metavar="D", help="Each client waits so long between two."),
    ] = None,
    rate: Annotated[
        str | None,
        typer.Option("--rate", metavar="R", help="Send so many a second, come what may."),
    ] = None,
    even: Annotated[
        bool, typer.Option("--even", help="With --rate: at equal intervals, not at random ones.")
    ] = False,
    at_random: Annotated[
        bool, typer.Option("--random", help="Choose models and inputs at random, not in turn.")
    ] = False,
    seed: Annotated[
        str | None,
        typer.Option("--seed", metavar="N", help="Choose the same at random as the last time."),
    ] = None,
    jobs: Annotated[
        bool, typer.Option("--jobs", help="Submit jobs and read their results.")
    ] = False,
    no_results: Annotated[
        bool,
        typer.Option("--no-results", help="Read no answers; with --jobs, wait for no results."),
    ] = False,
    from_: InputType = None,
    to: AnswerType = None,
    timeout: Timeout = None,
    json: AsJson = False,
) -> int:
    """Put a load on models and measure how they bear it.

    By default 8 clients ask for 10 seconds, each again as soon as it has its answer: that
    measures what can be answered. With --rate requests come however long answers take: that
    measures what users wait. Each of several models is asked in turn about each input. Latencies
    run from the moment a request was due. ^C ends it early, and what was measured is printed.

    The exit status is 0 when everything was answered, else that of the most frequent error.
    """
    _check_together(rate, concurrency, delay, even=even)
    plan = LoadPlan(
        models=names,
        clients=_count(concurrency, "--concurrency") or _CLIENTS,
        rate=_rate(rate),
        evenly=even,
        delay=0.0 if delay is None else _time(delay, "--delay"),
        requests=_count(requests, "--requests"),
        seconds=_duration(duration, unless=requests is not None),
        at_random=at_random,
        jobs=jobs,
        results=not no_results,
        accept=type_of(to, "--to", WRITABLE) or JSON,
        timeout=seconds(timeout),
        seed=_seed(seed),
        inputs=_inputs(input_, type_of(from_, "--from")),
    )
    with connect() as connection, gauge(plan.requests, plan.seconds) as watch:
        report = put_load(connection, plan, watch)
    if json:
        print_json(report)
    else:
        print_report(plan, report)
    say_errors(report)
    return _exit_code(report)


def _inputs(files: list[str], declared: str | None) -> list[LoadInput]:
    read_stdin_once(files)
    given = [read_input(file, declared) for file in files]
    return [LoadInput(one.content, one.content_type, one.name) for one in given]


def _duration(text: str | None, *, unless: bool) -> float | None:
    if text is None:
        return None if unless else _SECONDS
    duration = _time(text, "--seconds")
    if not duration:
        raise InvalidConfiguration("--seconds cannot be 0.", hint="Write it like 10, 30s or 5m.")
    return duration


def _time(text: str, option: str) -> float:
    duration = parse_duration(text)
    if math.isinf(duration):
        raise InvalidConfiguration(
            f"{option} cannot be {text!r}.", hint="Write it like 250ms, 30s or 5m."
        )
    return duration


def _count(text: str | None, option: str) -> int | None:
    if text is not None and (not text.isdecimal() or int(text) == 0):
        raise InvalidConfiguration(f"{option} cannot be {text!r}.", hint="Give a number from 1 on.")
    return None if text is None else int(text)


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise InvalidConfiguration(
            f"--rate cannot be {text!r}.", hint="Give a number of requests per second, such as 50."
        )
    return rate


def _seed(text: str | None) -> int:
    if text is None:
        return random.randrange(1 << 32)  # noqa: S311 - it guards nothing
    if not text.isdecimal():
        raise InvalidConfiguration(f"--seed cannot be {text!r}.", hint="Give a number.")
    return int(text)


def _check_together(
    rate: str | None, concurrency: str | None, delay: str | None, *, even: bool
) -> None:
    if rate is not None and (concurrency is not None or delay is not None):
        raise InvalidConfiguration(
            "With --rate no client waits for anything: --concurrency and --delay mean nothing.",
            hint="Give --rate, or the other two.",
        )
    if even and rate is None:
        raise InvalidConfiguration("--even is about --rate, which was not given.")


def _exit_code(report: LoadReport) -> int:
    if report.interrupted:
        return INTERRUPTED
    if report.errors:
        return exit_code(error_from(next(iter(report.errors)), "", "", {}))
    return NO_DAEMON if report.loads is None else DONE
