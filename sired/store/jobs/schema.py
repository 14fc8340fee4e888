"""The tables of the job database, how it is opened, and how its errors are reported."""

import errno
import os
import sqlite3
from pathlib import Path

from sire.errors import JobsUnavailable

VERSION = 2

# Only states that outlive the daemon are stored: queued and running jobs are pending here, which is
# what they are after a crash.
_TABLES = """
CREATE TABLE jobs (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    priority TEXT NOT NULL,
    metadata TEXT NOT NULL,
    source TEXT NOT NULL,
    content_type TEXT NOT NULL,
    accept TEXT NOT NULL,
    input_bytes INTEGER NOT NULL,
    result_bytes INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL,
    queued_at REAL,
    started_at REAL,
    finished_at REAL,
    deadline_at REAL,
    compute_seconds REAL,
    error TEXT
) STRICT;
CREATE INDEX jobs_pending ON jobs (model, priority, seq) WHERE state = 'pending';
CREATE INDEX jobs_finished ON jobs (finished_at, seq, result_bytes) WHERE state <> 'pending';
CREATE TABLE payloads (
    job INTEGER NOT NULL,
    kind TEXT NOT NULL,
    content_type TEXT NOT NULL,
    tensors TEXT NOT NULL,
    lengths TEXT NOT NULL,
    content BLOB,
    file TEXT,
    PRIMARY KEY (job, kind)
) STRICT;
"""
# Since version 2. ``jobs`` are the ids in order, separated by spaces; ``jobs_so_far`` is the number
# of all jobs that were submitted with keys, up to and including these.
_SUBMISSIONS = """
CREATE TABLE submissions (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    jobs TEXT NOT NULL,
    jobs_so_far INTEGER NOT NULL
) STRICT;
CREATE INDEX submissions_by_age ON submissions (jobs_so_far);
"""


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database, or create it with access for its owner only.

    Raises:
        JobsUnavailable: it was written by a newer version of sire.
        sqlite3.Error: it cannot be opened, or is not a database.
        OSError: it cannot be created.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    # Transactions are begun and ended explicitly.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        # Commits are synced: a job whose id was returned survives a power failure.
        db.execute("PRAGMA synchronous = FULL")
        _prepare(db, path)
    except BaseException:
        db.close()
        raise
    return db


def _prepare(db: sqlite3.Connection, path: Path) -> None:
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise JobsUnavailable(
            f"{path} was written by a newer version of sire (schema {version}, not {VERSION}).",
            hint="Upgrade sire, or move the file away.",
        )
    if version < VERSION:
        missing = _SUBMISSIONS if version else _TABLES + _SUBMISSIONS
        db.executescript(f"BEGIN; {missing} PRAGMA user_version = {VERSION}; COMMIT;")


def unavailable(problem: Exception, directory: Path) -> JobsUnavailable:
    """The error to report for a failure of the database or disk, with what to do about it."""
    kind = getattr(problem, "sqlite_errorname", "")
    number = problem.errno if isinstance(problem, OSError) else None
    if kind == "SQLITE_FULL" or number in {errno.ENOSPC, errno.EDQUOT}:
        return JobsUnavailable(
            f"The disk that holds {directory} is full.",
            hint="Free some space, or delete finished jobs: sire job rm --finished",
        )
    if kind.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return JobsUnavailable(
            f"The database of jobs in {directory} is damaged: {problem}.",
            hint=f"Move it away, so that a new one is created: mv {directory} {directory}.damaged",
        )
    why = os.strerror(number) if number else problem
    return JobsUnavailable(
        f"The database of jobs in {directory} cannot be used: {why}.",
        hint="Predictions still work; jobs will work again once it can be written to.",
    )
