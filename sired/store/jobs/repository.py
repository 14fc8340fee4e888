"""The jobs on disk; each method is one step of a transaction."""

import difflib
import secrets
import time
from collections.abc import Collection, Sequence
from pathlib import Path

import msgspec

from sire.errors import JobNotFound, ModelNotFound, shown
from sire.spec import Job, JobError, JobState
from sired.store.jobs import submissions
from sired.store.jobs.payloads import JobPayload, PayloadStore
from sired.store.jobs.records import (
    COLUMNS,
    Draft,
    JobOutcome,
    Lane,
    QueuedJob,
    job_of,
    lost,
    reason_of,
    too_late,
)
from sired.store.jobs.schema import open_database

# Without 0, 1, l and o, because ids are read aloud and typed. 32^7 are 34 billion.
_ALPHABET = "23456789abcdefghijkmnpqrstuvwxyz"
_ID_LENGTH = 7
# Similar ids are suggested from this many of the latest jobs.
_SUGGESTED_FROM = 10_000
# Ids are shorter; longer requests are truncated in errors.
_LONGEST_ID = 100


class JobRepository:
    """The jobs on disk; for use by one thread.

    A method that raises a ``SireError`` has changed nothing. After any other error the transaction
    must be rolled back.

    Args:
        directory: of the database and the spool directory; it is created if necessary.

    Raises:
        JobsUnavailable: the database was written by a newer version of sire.
        sqlite3.Error: it cannot be opened.
        OSError: a directory or file cannot be created.
    """

    def __init__(self, directory: Path) -> None:
        spool = directory / "spool"
        for folder in (directory, spool):
            folder.mkdir(mode=0o700, exist_ok=True)
        self.db = open_database(directory / "jobs.sqlite3")
        self.spool = PayloadStore(spool)
        try:
            self.spool.sweep(self.db)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the database."""
        self.db.close()

    def begin(self) -> None:
        """Begin a transaction."""
        self.db.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Make everything since ``begin`` durable."""
        self.spool.before_commit()
        self.db.execute("COMMIT")
        self.spool.committed()

    def roll_back(self) -> None:
        """Undo everything since ``begin``."""
        if self.db.in_transaction:  # some errors have ended it already
            self.db.execute("ROLLBACK")
        self.spool.rolled_back()

    # Accepting and running

    def accept(self, drafts: Sequence[Draft], key: str = "") -> list[str]:
        """Store new jobs, unless this has been done under the same key.

        Args:
            drafts: jobs of one model.
            key: of the submission; "" for none.

        Returns:
            Their ids in the same order.

        Raises:
            InvalidInput: the key is that of another submission.
        """
        if key and (ids := submissions.find(self.db, key, drafts)):
            return ids
        ids = [self._insert(draft, time.time()) for draft in drafts]
        if key and ids:
            submissions.remember(self.db, key, drafts[0].model, ids)
        return ids

    def _insert(self, draft: Draft, now: float) -> str:
        job = self._new_id()
        cursor = self.db.execute(
            "INSERT INTO jobs (id, model, priority, metadata, source, content_type, accept,"
            " input_bytes, created_at, deadline_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                job,
                draft.model,
                draft.priority,
                msgspec.json.encode(draft.metadata).decode(),
                draft.source,
                draft.data.content_type,
                draft.accept,
                draft.data.size,
                now,
                draft.deadline_at,
            ),
        )
        assert cursor.lastrowid is not None
        self.spool.put(self.db, cursor.lastrowid, "input", draft.data)
        return job

    def _new_id(self) -> str:
        while True:
            job = "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
            if self.db.execute("SELECT 1 FROM jobs WHERE id = ?", (job,)).fetchone() is None:
                return job

    def lanes(self) -> list[Lane]:
        """The lanes with pending jobs."""
        rows = self.db.execute("SELECT DISTINCT model, priority FROM jobs WHERE state = 'pending'")
        return [Lane(*row) for row in rows]

    def take(self, lane: Lane, exclude: Sequence[str], limit: int) -> list[QueuedJob]:
        """The next jobs of a lane, without ``exclude``; they stay pending on disk."""
        rows = self.db.execute(
            f"SELECT seq, {COLUMNS} FROM jobs"  # noqa: S608  # constants only
            " WHERE state = 'pending' AND model = ? AND priority = ?"
            f" AND id NOT IN ({_marks(exclude)})"
            " ORDER BY seq LIMIT ?",
            (*lane, *exclude, limit),
        ).fetchall()
        return [QueuedJob(job_of(row), self._input(seq)) for seq, *row in rows]

    def _input(self, seq: int) -> JobPayload | None:
        try:
            return self.spool.get(self.db, seq, "input")
        except FileNotFoundError:
            return None

    def finish(self, outcome: JobOutcome) -> bool:
        """Record how a job ended; False if it had already ended, or was deleted."""
        row = self.db.execute(
            "UPDATE jobs SET state = ?, queued_at = ?, started_at = ?, finished_at = ?,"
            " result_bytes = ?, compute_seconds = ?, error = ?"
            " WHERE id = ? AND state = 'pending' RETURNING seq",
            (
                outcome.state,
                outcome.queued_at,
                outcome.started_at,
                time.time(),
                outcome.result.size if outcome.result else 0,
                outcome.compute_seconds,
                outcome.error and msgspec.json.encode(outcome.error).decode(),
                outcome.job,
            ),
        ).fetchone()
        if row is None:
            return False
        self.spool.drop(self.db, row, "input")
        if outcome.result is not None:
            self.spool.put(self.db, row[0], "result", outcome.result)
        return True

    def overdue(self, exclude: Collection[str]) -> list[str]:
        """Fail pending jobs past their deadline, except ``exclude``; returns their ids."""
        query = (
            f"SELECT {COLUMNS} FROM jobs"  # noqa: S608
            " WHERE state = 'pending' AND deadline_at <= ?"
        )
        rows = self.db.execute(query, (time.time(),))
        late = [job for row in rows.fetchall() if (job := job_of(row)).id not in exclude]
        for job in late:
            self.finish(JobOutcome(job.id, "failed", error=reason_of(too_late(job))))
        return [job.id for job in late]

    def model_gone(self, model: str, error: ModelNotFound, exclude: Sequence[str]) -> list[str]:
        """Fail the pending jobs of a model, except ``exclude``; returns their ids."""
        where = f"model = ? AND id NOT IN ({_marks(exclude)})"
        return self._end_all("failed", reason_of(error), where, (model, *exclude))

    def _end_all(
        self, state: JobState, error: JobError | None, where: str, values: Sequence[str]
    ) -> list[str]:
        """End all pending jobs that fulfil a condition of SQL; returns their ids."""
        changes = "state = ?, finished_at = ?, error = ?"
        which = f"state = 'pending' AND {where}"
        query = f"UPDATE jobs SET {changes} WHERE {which} RETURNING seq, id"  # noqa: S608
        reason = error and msgspec.json.encode(error).decode()
        ended = self.db.execute(query, (state, time.time(), reason, *values)).fetchall()
        self.spool.drop(self.db, [seq for seq, _ in ended], "input")
        return [job for _, job in ended]

    # Queries

    def get(self, ids: Sequence[str]) -> list[Job]:
        """These jobs, in the same order.

        Raises:
            JobNotFound: an id is unknown; the hint suggests similar ones.
        """
        return [job for _, job in self._find(ids)]

    def _find(self, ids: Sequence[str]) -> list[tuple[int, Job]]:
        query = f"SELECT seq, {COLUMNS} FROM jobs WHERE id = ?"  # noqa: S608
        found = [self.db.execute(query, (job,)).fetchone() for job in ids]
        for job, row in zip(ids, found, strict=True):
            if row is None:
                raise self._not_found(job)
        return [(seq, job_of(row)) for seq, *row in found]

    def _not_found(self, job: str) -> JobNotFound:
        latest = self.db.execute(
            "SELECT id FROM jobs ORDER BY seq DESC LIMIT ?", (_SUGGESTED_FROM,)
        )
        near = difflib.get_close_matches(job[:_LONGEST_ID], [known for (known,) in latest], n=3)
        hint = f"Did you mean {' or '.join(near)}? See: sire job ls" if near else "See: sire job ls"
        return JobNotFound(
            f"The job {shown(job)} does not exist.", hint=hint, job=job[:_LONGEST_ID]
        )

    def find(
        self,
        *,
        state: JobState | None = None,
        model: str | None = None,
        only: Collection[str] | None = None,
        exclude: Collection[str] = (),
        limit: int = -1,
    ) -> list[Job]:
        """Jobs, the latest first.

        Args:
            state: only those in this state on disk, where queued and running jobs are pending.
            model: only those of this model.
            only: only these ids.
            exclude: none of these ids.
            limit: maximum number; -1 for all.
        """
        where = ["ifnull(?, state) = state", "ifnull(?, model) = model"]
        where += [f"id IN ({_marks(only)})"] if only is not None else []
        where += [f"id NOT IN ({_marks(exclude)})"]
        rows = self.db.execute(
            f"SELECT {COLUMNS} FROM jobs WHERE {' AND '.join(where)}"  # noqa: S608
            " ORDER BY seq DESC LIMIT ?",
            (state, model, *(only or ()), *exclude, limit),
        )
        return [job_of(row) for row in rows]

    def unfinished(self) -> list[str]:
        """The ids of all jobs that have not ended, the oldest first."""
        rows = self.db.execute("SELECT id FROM jobs WHERE state = 'pending' ORDER BY seq")
        return [job for (job,) in rows]

    def count(self, models: Collection[str]) -> dict[JobState, int]:
        """Number of jobs by their state on disk, where queued and running jobs are pending.

        Args:
            models: only those of these models; empty for all.
        """
        where = f"WHERE model IN ({_marks(models)})" if models else ""
        rows = self.db.execute(
            f"SELECT state, count(*) FROM jobs {where} GROUP BY state",  # noqa: S608
            tuple(models),
        )
        return dict(rows)

    def ahead(self, job: str) -> int:
        """Number of jobs of the same model that run before this one."""
        (count,) = self.db.execute(
            "SELECT count(*) FROM jobs AS other JOIN jobs AS this ON this.id = ?"
            " WHERE other.state = 'pending' AND other.model = this.model AND"
            " (instr('high normal low', other.priority), other.seq)"
            " < (instr('high normal low', this.priority), this.seq)",
            (job,),
        ).fetchone()
        return int(count)

    def result(self, job: str) -> tuple[Job, JobPayload | None]:
        """A job, and its result if it has one.

        Raises:
            JobNotFound: the id is unknown.
            JobsUnavailable: the file of its result is missing.
        """
        ((seq, found),) = self._find([job])
        try:
            return found, self.spool.get(self.db, seq, "result")
        except FileNotFoundError:
            raise lost(found, "result") from None

    # Cancelling and deleting

    def cancel(self, ids: Sequence[str]) -> list[str]:
        """Cancel those of these jobs that have not ended; returns their ids.

        Raises:
            JobNotFound: an id is unknown.
        """
        waiting = [job.id for job in self.get(ids) if job.state == "pending"]
        return [job for job in waiting if self.finish(JobOutcome(job, "cancelled"))]

    def cancel_all(self) -> list[str]:
        """Cancel every job that has not ended; returns their ids."""
        return self._end_all("cancelled", None, "TRUE", ())

    def remove(self, ids: Sequence[str]) -> None:
        """Delete these jobs, in any state.

        Raises:
            JobNotFound: an id is unknown.
        """
        self._delete([seq for seq, _ in self._find(ids)])

    def remove_finished(self, older_than: float) -> list[str]:
        """Delete jobs that ended more than ``older_than`` seconds ago; returns their ids."""
        rows = self.db.execute(
            "SELECT seq, id FROM jobs WHERE state <> 'pending' AND finished_at <= ?",
            (time.time() - older_than,),
        ).fetchall()
        self._delete([seq for seq, _ in rows])
        return [job for _, job in rows]

    def tidy(self, keep_for: float, keep_count: int, keep_bytes: int) -> int:
        """Delete finished jobs beyond the limits; returns their number.

        Args:
            keep_for: seconds to keep them after their end.
            keep_count: number of latest jobs to keep.
            keep_bytes: maximum total size of the results to keep, latest first.
        """
        rows = self.db.execute(
            "SELECT seq FROM (SELECT seq, finished_at, row_number() OVER latest AS place,"
            " sum(result_bytes) OVER latest AS bytes FROM jobs WHERE state <> 'pending'"
            " WINDOW latest AS (ORDER BY finished_at DESC, seq DESC ROWS UNBOUNDED PRECEDING))"
            " WHERE finished_at < ? OR place > ? OR bytes > ?",
            (time.time() - keep_for, keep_count, keep_bytes),
        ).fetchall()
        self._delete([seq for (seq,) in rows])
        return len(rows)

    def move_times(self, seconds: float) -> None:
        """Shift all times by the seconds that the system clock was set forward."""
        self.db.execute(
            "UPDATE jobs SET created_at = created_at + :seconds, queued_at = queued_at + :seconds,"
            " started_at = started_at + :seconds, finished_at = finished_at + :seconds,"
            " deadline_at = deadline_at + :seconds",
            {"seconds": seconds},
        )

    def _delete(self, jobs: Sequence[int]) -> None:
        self.spool.drop(self.db, jobs)
        self.db.executemany("DELETE FROM jobs WHERE seq = ?", [(job,) for job in jobs])


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))
