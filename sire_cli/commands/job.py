"""``sire job``: what was submitted, by hand."""

import time
from pathlib import Path
from typing import Annotated, get_args

import typer

from sire.client.calls.job_wait import wait_for_jobs
from sire.errors import InvalidConfiguration, InvalidInput
from sire.nearest import meant
from sire.protocol.content import BY_NAME, BY_SUFFIX
from sire.protocol.replies import JobEnd, JobList, JobReport
from sire.protocol.replies import JobIds as Ids
from sire.protocol.requests import (
    CancelJobs,
    JobResult,
    ListJobs,
    RemoveJobs,
    ShowJob,
    UnfinishedJobs,
)
from sire.spec import Job, JobState
from sire.units import parse_duration
from sire_cli.commands.job_text import COLUMNS, describe, row
from sire_cli.exit_codes import worst_exit_code
from sire_cli.files import WRITABLE, Output
from sire_cli.link import connect, expect
from sire_cli.options.arguments import JobId, JobIds
from sire_cli.options.completion import complete_model
from sire_cli.options.durations import Timeout, seconds
from sire_cli.options.typer_command import Command, CommandGroup
from sire_cli.terminal.output import AsJson, print_json, print_pairs, print_table, say
from sire_cli.terminal.progress import progress

job = typer.Typer(cls=CommandGroup, help="Look after submitted jobs.")

# Lines about jobs that failed; a list of more is for `sire job ls`.
_MOST_SAID = 10


@job.command(cls=Command)
def ls(
    state: Annotated[
        str | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="Only those: pending, queued, running, complete, failed or cancelled.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="NAME",
            help="Only those of this model.",
            autocompletion=complete_model,
        ),
    ] = None,
    limit: Annotated[
        str, typer.Option("--limit", "-n", metavar="N", help="How many at most, or all.")
    ] = "50",
    json: AsJson = False,
) -> None:
    """List jobs, the latest first."""
    request = ListJobs(state=_state(state), model=model, limit=_count(limit))
    jobs = expect(JobList, request).jobs
    if json:
        print_json(jobs)
    elif jobs:
        now = time.time()
        print_table(COLUMNS, [row(one, now) for one in jobs])
    else:
        say("No such jobs." if state or model else "No jobs. Submit one: sire submit NAME -i FILE")


def _count(text: str) -> int | None:
    if text == "all":
        return None
    if not text.isdecimal():
        raise InvalidConfiguration(f"--limit cannot be {text!r}.", hint="Give a number, or all.")
    return int(text)


def _state(text: str | None) -> JobState | None:
    states: tuple[JobState, ...] = get_args(JobState)
    if text is not None and text not in states:
        raise InvalidConfiguration(
            f"--state cannot be {text!r}.",
            hint=f"{meant(text, states)}It can be: {', '.join(states)}.",
        )
    return next((state for state in states if state == text), None)


@job.command(cls=Command)
def show(job: JobId, json: AsJson = False) -> None:
    """Show all that is known of one job."""
    report = expect(JobReport, ShowJob(job=job))
    if json:
        print_json(report)
    else:
        print_pairs(describe(report))


@job.command(cls=Command)
def wait(
    jobs: JobIds = None,
    all_: Annotated[bool, typer.Option("--all", help="Every job that has not ended.")] = False,
    timeout: Timeout = None,
    json: AsJson = False,
) -> int:
    """Wait until jobs have ended.

    The exit status is 0 when all of them are complete. Otherwise it is that of the failed ones,
    or 5 when they failed for different reasons; and 1 when some were cancelled and none failed.
    """
    _one_or_the_other(jobs, "--all", given=all_)
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
    _say_what_went_wrong([end for end in ends if end.state != "complete"])
    return worst_exit_code(ends)


def _say_what_went_wrong(ends: list[JobEnd]) -> None:
    for end in ends[:_MOST_SAID]:
        say(f"The job {end.job} {_how(end)}. See: sire job show {end.job}")
    if len(ends) > _MOST_SAID:
        say(f"So it was with {len(ends) - _MOST_SAID} more. See: sire job ls --state failed")


def _how(end: JobEnd) -> str:
    return f"failed: {end.error}" if end.state == "failed" else f"was {end.state}"


@job.command(cls=Command)
def result(
    job: JobId,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE|DIR", help="Where it goes; - is stdout."),
    ] = None,
) -> None:
    """Give a job's answer, as sire predict would have; or fail as it would have.

    Its type was chosen when the job was submitted: sire submit --to npy; JSON where nothing was
    said. It was made with the answer and is not changed any more. In a directory the answer is
    called what the input was called.
    """
    with connect() as connection:
        asked = connection.expect(JobReport, ShowJob(job=job)).job
        target = Output(output, _writable(asked), [asked.source or job])
        _check_ending(output, asked)
        _, frames = connection.ask(JobResult(job=job))
    target.write(asked.source or job, bytes(frames[0]))
    target.finish()


def _writable(asked: Job) -> str:
    if asked.accept not in [BY_NAME[name] for name in WRITABLE]:
        raise InvalidInput(
            f"The answer to {asked.id} was asked for as {asked.accept}, which is no file.",
            hint="It was submitted from Python; read it there: manager.job_result(id)",
        )
    return asked.accept


def _check_ending(output: str | None, asked: Job) -> None:
    """An answer does not change its type by being written to a file that is called so."""
    meant = BY_SUFFIX.get(Path(output).suffix.lower()) if output else None
    if meant not in {None, asked.accept} and not Path(str(output)).is_dir():
        name = next(name for name, kind in BY_NAME.items() if kind == asked.accept)
        raise InvalidConfiguration(
            f"{output} cannot hold the answer to {asked.id}, which is {name}.",
            hint="What it is to be is said when it is submitted: sire submit --to",
        )


@job.command(cls=Command)
def cancel(
    jobs: JobIds = None,
    all_: Annotated[bool, typer.Option("--all", help="Every job that has not ended.")] = False,
) -> None:
    """Cancel jobs; nothing happens to those that have ended."""
    _one_or_the_other(jobs, "--all", given=all_)
    cancelled = expect(Ids, CancelJobs(jobs=tuple(jobs or ()), all=all_)).jobs
    say(f"Cancelled {len(cancelled)} jobs.")


@job.command(cls=Command)
def rm(
    jobs: JobIds = None,
    finished: Annotated[bool, typer.Option("--finished", help="Every job that has ended.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="DURATION", help="Every job that ended before, as 7d."
        ),
    ] = None,
) -> None:
    """Forget jobs and their answers; named ones that have not ended are cancelled."""
    _one_or_the_other(jobs, "--finished", given=finished or older_than is not None)
    age = parse_duration(older_than) if older_than is not None else 0.0 if finished else None
    removed = expect(Ids, RemoveJobs(jobs=tuple(jobs or ()), older_than=age)).jobs
    say(f"Removed {len(removed)} jobs.")


def _one_or_the_other(jobs: list[str] | None, option: str, *, given: bool) -> None:
    if bool(jobs) == given:
        raise InvalidConfiguration(
            "Which jobs?" if not given else f"Jobs were named, and {option} was given.",
            hint=f"Give ids, or {option}. See: sire job ls",
        )
