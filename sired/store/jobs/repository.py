"""Everything that is done to jobs on disk; each method is one step of a transaction."""

import difflib
import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import msgspec

from sire.errors import JobNotFound, ModelNotFound, shown
from sire.spec import Job, JobError, JobState
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

# Neither 0, 1, l nor o: an id is read aloud and typed. 31^7 are 27 billion.
_ALPHABET = "23456789abcdefghijkmnpqrstuvwxyz"
_ID_LENGTH = 7
# Where somebody mistyped an id, it is looked for among the latest of this many.
_LOOK_NEAR = 10_000
# Ids are shorter; what else is asked for is not repeated whole.
_LONGEST_ID = 100


class JobRepository:
    """The jobs on disk; for one thread.

    A method that raises a ``SireError`` has changed nothing; after any other error the
    transaction must be rolled back.

    Args:
        directory: where the database and the spool directory are; it is made if need be.

    Raises:
        JobsUnavailable: a newer sire wrote the database.
        sqlite3.Error: it cannot be opened.
        OSError: the same.
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

    def accept(self, drafts: Iterable[Draft]) -> list[str]:
        """Keep new jobs; returns their ids in the same order."""
        return [self._insert(draft, time.time()) for draft in drafts]

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
        """The lanes in which jobs wait."""
        rows = self.db.execute("SELECT DISTINCT model, priority FROM jobs WHERE state = 'pending'")
        return [Lane(*row) for row in rows]

    def take(self, lane: Lane, but: Sequence[str], limit: int) -> list[QueuedJob]:
        """The next jobs of a lane but for some; they stay pending on disk."""
        rows = self.db.execute(
            f"SELECT seq, {COLUMNS} FROM jobs"  # noqa: S608  # names and marks of our own
            f" WHERE state = 'pending' AND model = ? AND priority = ? AND id NOT IN ({_marks(but)})"
            " ORDER BY seq LIMIT ?",
            (*lane, *but, limit),
        ).fetchall()
        return [QueuedJob(job_of(row), self._input(seq)) for seq, *row in rows]

    def _input(self, seq: int) -> JobPayload | None:
        try:
            return self.spool.get(self.db, seq, "input")
        except FileNotFoundError:
            return None

    def finish(self, outcome: JobOutcome) -> bool:
        """Record how a job ended; False when it had ended already, or is gone."""
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

    def overdue(self, but: Collection[str]) -> list[str]:
        """Fail the pending jobs whose deadline has come, but for some; returns their ids."""
        query = (
            f"SELECT {COLUMNS} FROM jobs"  # noqa: S608
            " WHERE state = 'pending' AND deadline_at <= ?"
        )
        rows = self.db.execute(query, (time.time(),))
        late = [job for row in rows.fetchall() if (job := job_of(row)).id not in but]
        for job in late:
            self.finish(JobOutcome(job.id, "failed", error=reason_of(too_late(job))))
        return [job.id for job in late]

    def model_gone(self, model: str, error: ModelNotFound, spare: Sequence[str]) -> list[str]:
        """Fail the pending jobs of a model but for those to ``spare``; returns their ids."""
        where = f"model = ? AND id NOT IN ({_marks(spare)})"
        return self._end_all("failed", reason_of(error), where, (model, *spare))

    def _end_all(
        self, state: JobState, error: JobError | None, where: str, values: Sequence[str]
    ) -> list[str]:
        """End all pending jobs for which something holds; returns their ids."""
        changes = "state = ?, finished_at = ?, error = ?"
        which = f"state = 'pending' AND {where}"
        query = f"UPDATE jobs SET {changes} WHERE {which} RETURNING seq, id"  # noqa: S608
        reason = error and msgspec.json.encode(error).decode()
        ended = self.db.execute(query, (state, time.time(), reason, *values)).fetchall()
        self.spool.drop(self.db, [seq for seq, _ in ended], "input")
        return [job for _, job in ended]

    # Looking

    def get(self, ids: Sequence[str]) -> list[Job]:
        """These jobs, in the same order.

        Raises:
            JobNotFound: there is no such job; the hint names ids that come near.
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
        latest = self.db.execute("SELECT id FROM jobs ORDER BY seq DESC LIMIT ?", (_LOOK_NEAR,))
        near = difflib.get_close_matches(job[:_LONGEST_ID], [known for (known,) in latest], n=3)
        hint = f"Did you mean {' or '.join(near)}? See: sire job ls" if near else "See: sire job ls"
        return JobNotFound(f"There is no job {shown(job)}.", hint=hint, job=job[:_LONGEST_ID])

    def find(
        self,
        *,
        state: JobState | None = None,
        model: str | None = None,
        only: Collection[str] | None = None,
        but: Collection[str] = (),
        limit: int = -1,
    ) -> list[Job]:
        """Jobs, the latest first.

        Args:
            state: only those in this state on disk, where what is queued or running is pending.
            model: only those of this model.
            only: only those of these ids.
            but: none of these ids.
            limit: how many at most; -1 for all.
        """
        where = ["ifnull(?, state) = state", "ifnull(?, model) = model"]
        where += [f"id IN ({_marks(only)})"] if only is not None else []
        where += [f"id NOT IN ({_marks(but)})"]
        rows = self.db.execute(
            f"SELECT {COLUMNS} FROM jobs WHERE {' AND '.join(where)}"  # noqa: S608
            " ORDER BY seq DESC LIMIT ?",
            (state, model, *(only or ()), *but, limit),
        )
        return [job_of(row) for row in rows]

    def unfinished(self) -> list[str]:
        """The ids of all jobs that have not ended, the oldest first."""
        rows = self.db.execute("SELECT id FROM jobs WHERE state = 'pending' ORDER BY seq")
        return [job for (job,) in rows]

    def ahead(self, job: str) -> int:
        """How many jobs of the same model are to be run before this one."""
        (count,) = self.db.execute(
            "SELECT count(*) FROM jobs AS other JOIN jobs AS this ON this.id = ?"
            " WHERE other.state = 'pending' AND other.model = this.model AND"
            " (instr('high normal low', other.priority), other.seq)"
            " < (instr('high normal low', this.priority), this.seq)",
            (job,),
        ).fetchone()
        return int(count)

    def result(self, job: str) -> tuple[Job, JobPayload | None]:
        """A job, and its answer if it has one.

        Raises:
            JobNotFound: there is no such job.
            JobsUnavailable: the file with its answer is gone.
        """
        ((seq, found),) = self._find([job])
        try:
            return found, self.spool.get(self.db, seq, "result")
        except FileNotFoundError:
            raise lost(found, "answer") from None

    # Ending and forgetting

    def cancel(self, ids: Sequence[str]) -> list[str]:
        """Cancel those of these jobs that have not ended; returns which.

        Raises:
            JobNotFound: there is no such job.
        """
        waiting = [job.id for job in self.get(ids) if job.state == "pending"]
        return [job for job in waiting if self.finish(JobOutcome(job, "cancelled"))]

    def cancel_all(self) -> list[str]:
        """Cancel every job that has not ended; returns which."""
        return self._end_all("cancelled", None, "TRUE", ())

    def remove(self, ids: Sequence[str]) -> None:
        """Forget these jobs, whatever their state.

        Raises:
            JobNotFound: there is no such job.
        """
        self._forget([seq for seq, _ in self._find(ids)])

    def remove_finished(self, older_than: float) -> list[str]:
        """Forget the jobs that ended more than so many seconds ago; returns their ids."""
        rows = self.db.execute(
            "SELECT seq, id FROM jobs WHERE state <> 'pending' AND finished_at <= ?",
            (time.time() - older_than,),
        ).fetchall()
        self._forget([seq for seq, _ in rows])
        return [job for _, job in rows]

    def tidy(self, keep_for: float, keep_count: int, keep_bytes: int) -> int:
        """Forget finished jobs that are too old, too many or too big; returns how many.

        Args:
            keep_for: seconds since their end.
            keep_count: how many, the latest ones.
            keep_bytes: how much their results may take, of the latest ones together.
        """
        rows = self.db.execute(
            "SELECT seq FROM (SELECT seq, finished_at, row_number() OVER latest AS place,"
            " sum(result_bytes) OVER latest AS bytes FROM jobs WHERE state <> 'pending'"
            " WINDOW latest AS (ORDER BY finished_at DESC, seq DESC ROWS UNBOUNDED PRECEDING))"
            " WHERE finished_at < ? OR place > ? OR bytes > ?",
            (time.time() - keep_for, keep_count, keep_bytes),
        ).fetchall()
        self._forget([seq for (seq,) in rows])
        return len(rows)

    def move_times(self, seconds: float) -> None:
        """The calendar was set by so much: what is to be and what was go with it."""
        self.db.execute(
            "UPDATE jobs SET created_at = created_at + ?1, queued_at = queued_at + ?1,"
            " started_at = started_at + ?1, finished_at = finished_at + ?1,"
            " deadline_at = deadline_at + ?1",
            (seconds,),
        )

    def _forget(self, jobs: Sequence[int]) -> None:
        self.spool.drop(self.db, jobs)
        self.db.executemany("DELETE FROM jobs WHERE seq = ?", [(job,) for job in jobs])


def _marks(values: Collection[str]) -> str:
    return ", ".join("?" * len(values))
