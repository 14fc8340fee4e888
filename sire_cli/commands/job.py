"""``sire job``: list, inspect, wait for, cancel and remove jobs."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_args

import typer

from sire.client.calls.job_wait import wait_for_jobs
from sire.errors import InvalidConfiguration, InvalidInput, error_from
from sire.exit_codes import DONE, INFERENCE_FAILED, UNEXPECTED
from sire.nearest import did_you_mean
from sire.protocol.content import BY_NAME, BY_SUFFIX
from sire.protocol.jobs import (
    CancelJobs,
    JobEnd,
    JobList,
    JobReport,
    JobResult,
    ListJobs,
    RemoveJobs,
    ShowJob,
    UnfinishedJobs,
)
from sire.protocol.jobs import JobIds as Ids
from sire.spec import Job, JobState
from sire.units import parse_duration
from sire_cli.daemon_connection import connect, expect
from sire_cli.files import WRITABLE, Output
from sire_cli.options.arguments import JobId, JobIds
from sire_cli.options.completion import complete_model
from sire_cli.options.durations import Timeout, parse_option, seconds
from sire_cli.options.numbers import whole_number
from sire_cli.options.typer_command import Command, CommandGroup
from sire_cli.terminal.jobs import COLUMNS, describe, row
from sire_cli.terminal.output import AsJson, print_json, print_message, print_pairs, print_table
from sire_cli.terminal.progress import progress

job = typer.Typer(cls=CommandGroup, help="List, inspect, wait for, cancel and remove jobs.")

# Failures to print one by one; more are summed up.
_MOST_FAILURES = 10
# Ids in one request.
_JOBS_AT_ONCE = 10_000


@job.command(cls=Command)
def ls(
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="List only jobs in this state, such as running or failed.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="List only jobs of this model.",
            autocompletion=complete_model,
        ),
    ] = None,
    limit: Annotated[
        str, typer.Option("--limit", "-n", metavar="N", help="Number of jobs to list, or all.")
    ] = "50",
    json: AsJson = False,
) -> None:
    """List jobs, latest first.

    States are pending, queued, running, complete, failed and cancelled.
    """
    request = ListJobs(state=_state(state), model=model, limit=_count(limit))
    jobs = expect(JobList, request).jobs
    if json:
        print_json(jobs)
    elif jobs:
        now = time.time()
        print_table(COLUMNS, [row(one, now) for one in jobs])
    else:
        print_message(
            "No jobs match." if state or model else "No jobs. Submit one: sire submit NAME -i FILE"
        )


def _count(text: str) -> int | None:
    return None if text == "all" else whole_number("--limit", text)


def _state(text: str | None) -> JobState | None:
    states: tuple[JobState, ...] = get_args(JobState)
    if text is not None and text not in states:
        raise InvalidConfiguration(
            f"{text!r} is not a valid state.",
            hint=f"{did_you_mean(text, states)}Valid states: {', '.join(states)}.",
        )
    return next((state for state in states if state == text), None)


@job.command(cls=Command)
def show(job: JobId, json: AsJson = False) -> None:
    """Show everything known about a job."""
    report = expect(JobReport, ShowJob(job=job))
    if json:
        print_json(report)
    else:
        print_pairs(describe(report))


@job.command(cls=Command)
def wait(
    jobs: JobIds = None,
    all_: Annotated[bool, typer.Option("--all", help="Every unfinished job.")] = False,
    timeout: Timeout = None,
    json: AsJson = False,
) -> int:
    """Wait for jobs to finish.

    The exit status is 0 if all jobs completed. If any failed, it is that of the failed jobs, or 5
    if they failed for different reasons. If some were cancelled and none failed, it is 1.
    """
    _check_selection(jobs, "--all", given=all_)
    limit = seconds(timeout)
    ends: list[JobEnd] = []
    with connect() as connection:
        ids = jobs or connection.expect(Ids, UnfinishedJobs()).jobs
        try:
            with progress(len(ids)) as advance:
                for end in wait_for_jobs(connection, ids, limit):
                    ends.append(end)
                    advance(1)
        finally:
            if json:
                print_json(ends)
    _print_failures([end for end in ends if end.state != "complete"])
    return _exit_code(ends)


def _exit_code(ends: list[JobEnd]) -> int:
    incomplete = [end for end in ends if end.state != "complete"]
    failed = {error_from(end.error, "", "", {}).exit_code for end in incomplete if end.error}
    if len(failed) > 1:
        return INFERENCE_FAILED
    return failed.pop() if failed else UNEXPECTED if incomplete else DONE


def _print_failures(ends: list[JobEnd]) -> None:
    for end in ends[:_MOST_FAILURES]:
        print_message(f"Job {end.job} {_outcome(end)}. See: sire job show {end.job}")
    if len(ends) > _MOST_FAILURES:
        print_message(
            f"{len(ends) - _MOST_FAILURES} more did not complete. See: sire job ls --state failed"
        )


def _outcome(end: JobEnd) -> str:
    return f"failed: {end.error}" if end.state == "failed" else f"was {end.state}"


@job.command(cls=Command)
def result(
    job: JobId,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE|DIR", help="File or directory; - is stdout."),
    ] = None,
) -> None:
    """Print or save the result of a job.

    Output and exit status are those that sire predict would have given. The type of the result was
    set by sire submit --to (JSON by default) and cannot be changed. In a directory, the file is
    named after the input.
    """
    with connect() as connection:
        record = connection.expect(JobReport, ShowJob(job=job)).job
        target = Output(output, _writable(record), [record.source or job])
        _check_suffix(output, record)
        _, frames = connection.ask(JobResult(job=job))
    target.write(record.source or job, bytes(frames[0]))
    target.finish()


def _writable(record: Job) -> str:
    if record.accept not in [BY_NAME[name] for name in WRITABLE]:
        raise InvalidInput(
            f"The result of job {record.id} has type {record.accept}, not that of a file.",
            hint="It was submitted from Python; read it there: manager.job_result(id)",
        )
    return record.accept


def _check_suffix(output: str | None, record: Job) -> None:
    """Reject a file whose suffix contradicts the type of the result.

    Raises:
        InvalidConfiguration: the suffix stands for another type.
    """
    implied = BY_SUFFIX.get(Path(output).suffix.lower()) if output else None
    if implied not in {None, record.accept} and not Path(str(output)).is_dir():
        name = next(name for name, kind in BY_NAME.items() if kind == record.accept)
        raise InvalidConfiguration(
            f"{output} does not match the result of job {record.id}, which has type {name}.",
            hint="The type is set when a job is submitted: sire submit --to",
        )


@job.command(cls=Command)
def cancel(
    jobs: JobIds = None,
    all_: Annotated[bool, typer.Option("--all", help="Every unfinished job.")] = False,
) -> None:
    """Cancel jobs that have not finished."""
    _check_selection(jobs, "--all", given=all_)
    with connect() as connection:
        cancelled = sum(
            len(connection.expect(Ids, CancelJobs(jobs=some, all=all_)).jobs)
            for some in _parts(jobs)
        )
    print_message(f"Cancelled {_jobs(cancelled)}.")


@job.command(cls=Command)
def rm(
    jobs: JobIds = None,
    finished: Annotated[bool, typer.Option("--finished", help="Every finished job.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than",
            metavar="DURATION",
            help="Every job that finished longer ago, such as 7d.",
        ),
    ] = None,
) -> None:
    """Remove jobs and their results.

    Jobs given by id that have not finished are cancelled first.
    """
    _check_selection(jobs, "--finished", given=finished or older_than is not None)
    age = 0.0 if finished else None
    if older_than is not None:
        age = parse_option("--older-than", older_than, parse_duration)
    with connect() as connection:
        removed = sum(
            len(connection.expect(Ids, RemoveJobs(jobs=some, older_than=age)).jobs)
            for some in _parts(jobs)
        )
    print_message(f"Removed {_jobs(removed)}.")


def _parts(jobs: list[str] | None) -> Iterator[tuple[str, ...]]:
    """The ids in as many requests as are needed, so that none exceeds the limit of a header."""
    given = tuple(jobs or ())
    for start in range(0, len(given) or 1, _JOBS_AT_ONCE):
        yield given[start : start + _JOBS_AT_ONCE]


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


def _check_selection(jobs: list[str] | None, option: str, *, given: bool) -> None:
    if bool(jobs) == given:
        raise InvalidConfiguration(
            f"Job ids cannot be combined with {option}." if given else "No job is given.",
            hint=f"Specify ids or {option}. List jobs: sire job ls",
        )
