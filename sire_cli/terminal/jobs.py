"""Jobs as rows of a table, and one job in full."""

import time

from sire.protocol.jobs import JobReport
from sire.spec import Job
from sire.units import format_bytes, format_duration

COLUMNS = ("ID", "MODEL", "STATE", "PRIORITY", "AGE>", "WAITED>", "RAN>", "INPUT")


def row(job: Job, now: float) -> tuple[str | None, ...]:
    """The cells of one job, in the order of ``COLUMNS``."""
    started = job.started_at or job.finished_at or now
    return (
        job.id,
        job.model,
        job.state,
        job.priority,
        format_duration(now - job.created_at),
        format_duration(started - job.created_at),
        _run_time(job, now),
        job.source,
    )


def _run_time(job: Job, now: float) -> str | None:
    if job.started_at is None:
        return None
    return format_duration((job.finished_at or now) - job.started_at)


def describe(report: JobReport) -> list[tuple[str, str | None]]:
    """Every field of a job as (name, value); None for a field that does not apply."""
    job = report.job
    return [
        ("ID", job.id),
        ("Model", job.model),
        ("State", job.state),
        ("Ahead", _jobs_ahead(report)),
        ("Priority", job.priority),
        ("Input", f"{job.source or '-'} ({job.content_type}, {format_bytes(job.input_bytes)})"),
        ("Result", f"{job.accept}, {format_bytes(job.result_bytes)}" if job.result_bytes else None),
        *[("Metadata", f"{key}={value}") for key, value in job.metadata.items()],
        ("Created", _local_time(job.created_at)),
        ("Queued", _local_time(job.queued_at)),
        ("Started", _local_time(job.started_at)),
        ("Finished", _local_time(job.finished_at)),
        ("Deadline", _local_time(job.deadline_at)),
        ("Error", f"{job.error.code}: {job.error.message}" if job.error else None),
        ("Hint", job.error.hint or None if job.error else None),
    ]


def _jobs_ahead(report: JobReport) -> str | None:
    if report.ahead is None:
        return None
    wait = report.wait_seconds
    about = "" if wait is None else f", about {format_duration(wait)}"
    return f"{report.ahead} of {report.job.model}{about}"


def _local_time(moment: float | None) -> str | None:
    return None if moment is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
