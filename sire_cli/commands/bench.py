"""``sire bench``."""

import math
import random

from sire.client.connection import Connection
from sire.errors import InvalidConfiguration, error_from
from sire.exit_codes import DONE, INTERRUPTED, NO_DAEMON
from sire.protocol.content import JSON
from sire.units import parse_duration
from sire_cli.files import type_of
from sire_cli.inputs import InputOptions, input_options, list_inputs
from sire_cli.loadtest.output import print_errors, print_report
from sire_cli.loadtest.plan import LoadInput, LoadPlan
from sire_cli.loadtest.progress import progress_line
from sire_cli.loadtest.report import LoadReport
from sire_cli.loadtest.run import run_load
from sire_cli.options.arguments import AnswerType, HeaderLine, InputType, ModelNames
from sire_cli.options.durations import Timeout, parse_option, seconds
from sire_cli.options.load_options import (
    AsJobs,
    AtRandom,
    BenchInputs,
    Clients,
    Even,
    LoadDuration,
    NoResults,
    Pause,
    Rate,
    RequestCount,
    Seed,
)
from sire_cli.options.numbers import whole_number
from sire_cli.terminal.output import AsJson, print_json

_CLIENTS = 8
_SECONDS = 10.0


def bench(
    names: ModelNames,
    input_: BenchInputs,
    requests: RequestCount = None,
    duration: LoadDuration = None,
    concurrency: Clients = None,
    delay: Pause = None,
    rate: Rate = None,
    even: Even = False,
    at_random: AtRandom = False,
    seed: Seed = None,
    jobs: AsJobs = False,
    no_results: NoResults = False,
    from_: InputType = None,
    header: HeaderLine = None,
    to: AnswerType = None,
    timeout: Timeout = None,
    json: AsJson = False,
) -> int:
    """Measure throughput and latency of models under load.

    By default 8 clients send requests for 10 seconds, each as soon as its previous request is
    answered; this measures throughput. With --rate, requests are sent at a fixed average rate
    however long answers take; this measures the latency that users see. Several models and inputs
    are combined in turn. Latency is measured from the time a request was due. Ctrl-C ends the run
    early and prints the results so far.

    The exit status is 0 if every request was answered, else that of the most frequent error.
    """
    _check_combination(rate, concurrency, delay, even=even)
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
        accept=type_of(to, "--to") or JSON,
        timeout=seconds(timeout),
        seed=_seed(seed),
        inputs=_inputs(input_, input_options(from_, header)),
    )
    with Connection() as connection, progress_line(plan.requests, plan.seconds) as on_progress:
        report = run_load(connection, plan, on_progress)
    if json:
        print_json(report)
    else:
        print_report(plan, report)
    print_errors(report)
    return _exit_code(report)


def _inputs(files: list[str], options: InputOptions) -> list[LoadInput]:
    given = [one.read() for one in list_inputs(files, options)]
    return [LoadInput(one.frames, one.content_type, one.label) for one in given]


def _duration(text: str | None, *, unless: bool) -> float | None:
    if text is None:
        return None if unless else _SECONDS
    duration = _time(text, "--seconds")
    if not duration:
        raise InvalidConfiguration(
            f"--seconds must be greater than 0 (got {text!r}).", hint="Example: --seconds 30s"
        )
    return duration


def _time(text: str, option: str) -> float:
    duration = parse_option(option, text, parse_duration)
    if math.isinf(duration):
        raise InvalidConfiguration(
            f"{option} must be finite (got {text!r}).", hint=f"Example: {option} 30s"
        )
    return duration


def _count(text: str | None, option: str) -> int | None:
    return None if text is None else whole_number(option, text, least=1)


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate < math.inf:
        raise InvalidConfiguration(
            f"--rate must be a number of requests per second above 0 (got {text!r}).",
            hint="Example: --rate 50",
        )
    return rate


def _seed(text: str | None) -> int:
    if text is None:
        return random.randrange(1 << 32)  # noqa: S311 (not used for security)
    return whole_number("--seed", text)


def _check_combination(
    rate: str | None, concurrency: str | None, delay: str | None, *, even: bool
) -> None:
    if rate is not None and (concurrency is not None or delay is not None):
        raise InvalidConfiguration(
            "--rate cannot be combined with --concurrency or --delay.",
            hint="With --rate, requests do not wait for answers. Omit one or the other.",
        )
    if even and rate is None:
        raise InvalidConfiguration("--even requires --rate.")


def _exit_code(report: LoadReport) -> int:
    if report.interrupted:
        return INTERRUPTED
    if report.errors:
        return error_from(next(iter(report.errors)), "", "", {}).exit_code
    return NO_DAEMON if report.loads is None else DONE
