"""The database's tables, how it is opened, and what its errors mean."""

import errno
import os
import sqlite3
from pathlib import Path

from sire.errors import JobsUnavailable

VERSION = 1

# Only what outlives the daemon is a state here: a job that is queued or running is one that has
# not been finished, and after a crash that is all there is to know.
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


def open_database(path: Path) -> sqlite3.Connection:
    """Open the database, or make it; only its owner may read it.

    Raises:
        JobsUnavailable: a newer sire has written it.
        sqlite3.Error: it cannot be opened, or is none.
        OSError: it cannot be made.
    """
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    # Transactions are begun and ended by hand.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    try:
        db.execute("PRAGMA journal_mode = WAL")
        # What was committed is on disk: a job whose id has been told survives a power cut.
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
            f"{path} was written by a newer sire (its version is {version}, not {VERSION}).",
            hint="Upgrade sire, or move the file away.",
        )
    if version == 0:
        db.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {VERSION}; COMMIT;")


def unavailable(problem: Exception, directory: Path) -> JobsUnavailable:
    """An error of the database or the disk below ``directory``, in words that say what to do."""
    kind = getattr(problem, "sqlite_errorname", "")
    number = problem.errno if isinstance(problem, OSError) else None
    if kind == "SQLITE_FULL" or number in {errno.ENOSPC, errno.EDQUOT}:
        return JobsUnavailable(
            f"The disk that holds {directory} is full.",
            hint="Free some space, or forget finished jobs: sire job rm --finished",
        )
    if kind.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return JobsUnavailable(
            f"The database of jobs in {directory} is damaged: {problem}.",
            hint=f"Move it away, and a new one will be made: mv {directory} {directory}.damaged",
        )
    why = os.strerror(number) if number else problem
    return JobsUnavailable(
        f"The database of jobs in {directory} cannot be used: {why}.",
        hint="Predictions are served meanwhile, and jobs are again once it can be written to.",
    )
