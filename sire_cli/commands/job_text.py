"""Jobs in words for people."""

import time

from sire.protocol.replies import JobReport
from sire.spec import Job
from sire.units import format_bytes, format_duration

COLUMNS = ("ID", "MODEL", "STATE", "PRIORITY", "AGE>", "WAITED>", "RAN>", "INPUT")


def row(job: Job, now: float) -> tuple[str | None, ...]:
    """A line of the list."""
    began = job.started_at or job.finished_at or now
    return (
        job.id,
        job.model,
        job.state,
        job.priority,
        format_duration(now - job.created_at),
        format_duration(began - job.created_at),
        _ran(job, now),
        job.source,
    )


def _ran(job: Job, now: float) -> str | None:
    if job.started_at is None:
        return None
    return format_duration((job.finished_at or now) - job.started_at)


def describe(report: JobReport) -> list[tuple[str, str | None]]:
    """The job as pairs."""
    job = report.job
    return [
        ("Id", job.id),
        ("Model", job.model),
        ("State", job.state),
        ("Ahead", _ahead(report)),
        ("Priority", job.priority),
        ("Input", f"{job.source or '-'} ({job.content_type}, {format_bytes(job.input_bytes)})"),
        ("Answer", f"{job.accept}, {format_bytes(job.result_bytes)}" if job.result_bytes else None),
        *[("Metadata", f"{key}={value}") for key, value in job.metadata.items()],
        ("Created", _when(job.created_at)),
        ("Queued", _when(job.queued_at)),
        ("Started", _when(job.started_at)),
        ("Finished", _when(job.finished_at)),
        ("Deadline", _when(job.deadline_at)),
        ("Error", f"{job.error.code}: {job.error.message}" if job.error else None),
        ("Hint", job.error.hint or None if job.error else None),
    ]


def _ahead(report: JobReport) -> str | None:
    if report.ahead is None:
        return None
    wait = report.wait_seconds
    about = "" if wait is None else f", about {format_duration(wait)}"
    return f"{report.ahead} jobs of {report.job.model}{about}"


def _when(moment: float | None) -> str | None:
    return None if moment is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(moment))
