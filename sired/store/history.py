"""The activity of models in each minute of the last days, in one small SQLite file.

It is written once a minute. It stays consistent if the daemon is killed (a write-ahead log). A
power failure loses at most the last minutes, which is acceptable compared with syncing each one.
"""

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MINUTE = 60
# About 50 MB: three and a half days of a hundred models that are always loaded.
MOST_ROWS = 500_000
VERSION = 1

_TABLE = """
CREATE TABLE minutes (
    at INTEGER NOT NULL,
    model TEXT NOT NULL,
    answers INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    p50 REAL,
    p99 REAL,
    memory INTEGER NOT NULL,
    loads INTEGER NOT NULL,
    evictions INTEGER NOT NULL,
    crashes INTEGER NOT NULL,
    PRIMARY KEY (at, model)
) STRICT, WITHOUT ROWID;
"""
# Two daemons can contribute to one minute, if it was restarted within it.
_ADD = """
INSERT INTO minutes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    p50 = CASE WHEN excluded.answers > answers THEN excluded.p50 ELSE p50 END,
    p99 = max(coalesce(p99, excluded.p99), coalesce(excluded.p99, p99)),
    answers = answers + excluded.answers,
    errors = errors + excluded.errors,
    memory = max(memory, excluded.memory),
    loads = loads + excluded.loads,
    evictions = evictions + excluded.evictions,
    crashes = crashes + excluded.crashes
"""
_DELETE_OLDEST = """
DELETE FROM minutes
WHERE (at, model) IN (SELECT at, model FROM minutes ORDER BY at, model LIMIT ?)
"""
_READ = """
SELECT at / :step * :step AS began, model, sum(answers), sum(errors),
    sum(p50 * answers) / nullif(sum(iif(p50 IS NULL, 0, answers)), 0), max(p99), max(memory),
    sum(loads), sum(evictions), sum(crashes)
FROM minutes
WHERE at >= :first AND (:model IS NULL OR model = :model)
GROUP BY began, model ORDER BY began, model
"""


class Minute(NamedTuple):
    """The activity of one model in an interval.

    Attributes:
        at: the beginning of the interval, in seconds since the epoch.
        p50: median latency in seconds; None without answers.
        p99: 99th percentile of the latency in seconds; None without answers.
        memory: the most memory that it held, in bytes.
    """

    at: int
    model: str
    answers: int
    errors: int
    p50: float | None
    p99: float | None
    memory: int
    loads: int
    evictions: int
    crashes: int


class HistoryStore:
    """The history file; for use by one thread.

    Args:
        path: of the file, which is created if necessary.

    Raises:
        sqlite3.Error: it is damaged, cannot be opened, or was written by a newer version.
        OSError: it cannot be created.
    """

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._db.close()
            raise

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        (found,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise damage(found)
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise sqlite3.NotSupportedError("it was written by a newer version of sire")
        if version == 0:
            self._db.executescript(f"BEGIN; {_TABLE} PRAGMA user_version = {VERSION}; COMMIT;")

    def add(self, minutes: Iterable[Minute], *, keep_from: float) -> None:
        """Add these, and delete those before ``keep_from`` or beyond the maximum number.

        Raises:
            sqlite3.Error: it cannot be written; nothing has changed.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(_ADD, minutes)
            self._db.execute("DELETE FROM minutes WHERE at < ?", (max(0.0, keep_from),))
            self._delete_excess()
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _delete_excess(self) -> None:
        (rows,) = self._db.execute("SELECT count(*) FROM minutes").fetchone()
        if rows > MOST_ROWS:
            self._db.execute(_DELETE_OLDEST, (rows - MOST_ROWS,))

    def read(self, since: float, step: int, model: str | None) -> list[Minute]:
        """The activity of one model, or of all, in steps of ``step`` seconds, the oldest first.

        The p50 of a step is the mean of its minutes, weighted by answers; its p99 is their maximum.

        Args:
            since: seconds since the epoch.
            step: seconds.
            model: its name; None for all.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        # The first step is complete; otherwise its figures would depend on the time of the request.
        given = {"first": int(since) // step * step, "step": step, "model": model}
        return [Minute(*row) for row in self._db.execute(_READ, given)]

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def damage(found: str) -> sqlite3.DatabaseError:
    """The error that reports a damaged file."""
    error = sqlite3.DatabaseError(found)
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


def is_damage(problem: Exception) -> bool:
    """Whether the error means that the file is damaged, not that the disk failed."""
    name = getattr(problem, "sqlite_errorname", "")
    return name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))


def set_aside(path: Path) -> Path:
    """Rename a damaged file and delete its journals; returns the new path.

    Raises:
        OSError: it cannot be moved.
    """
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    return aside
