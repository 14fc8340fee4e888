"""What models did in each minute of the last days: one small SQLite file.

It is written once a minute. A daemon that is killed leaves it whole (a write-ahead log), and of a
power cut at most the last minutes are missing, which is less than it would cost to sync each.
"""

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

MINUTE = 60
# About 50 MB; of a hundred models that are always loaded, three and a half days.
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
# A daemon that was restarted within a minute has two parts of it to tell.
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
_SHORTEN = """
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
    """What one model did in the time that began at ``at``, in seconds since 1970.

    Attributes:
        p50: of the latencies of its answers, in seconds, like ``p99``; None if there were none.
        memory: bytes.
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
    """The file; to be used by one thread.

    Args:
        path: where it is, or is to be made.

    Raises:
        sqlite3.Error: it is damaged, or cannot be opened, or a newer sire has written it.
        OSError: it cannot be made.
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
            raise sqlite3.NotSupportedError("a newer sire has written it")
        if version == 0:
            self._db.executescript(f"BEGIN; {_TABLE} PRAGMA user_version = {VERSION}; COMMIT;")

    def add(self, minutes: Iterable[Minute], *, keep_from: float) -> None:
        """Keep these, and forget what was before ``keep_from`` or is too much.

        Raises:
            sqlite3.Error: it cannot be written; nothing has changed then.
        """
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.executemany(_ADD, minutes)
            self._db.execute("DELETE FROM minutes WHERE at < ?", (max(0.0, keep_from),))
            self._shorten()
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise

    def _shorten(self) -> None:
        (rows,) = self._db.execute("SELECT count(*) FROM minutes").fetchone()
        if rows > MOST_ROWS:
            self._db.execute(_SHORTEN, (rows - MOST_ROWS,))

    def read(self, since: float, step: int, model: str | None) -> list[Minute]:
        """What one model did, or all, in steps of ``step`` seconds, the oldest first.

        The p50 of a step is the mean of its minutes' by their answers, the p99 the worst of theirs.

        Raises:
            sqlite3.Error: it cannot be read.
        """
        # The first step is whole, or a daily figure would change with the second it is asked for.
        given = {"first": int(since) // step * step, "step": step, "model": model}
        return [Minute(*row) for row in self._db.execute(_READ, given)]

    def close(self) -> None:
        """Close the file."""
        self._db.close()


def damage(found: str) -> sqlite3.DatabaseError:
    """The error of a file whose content cannot be."""
    error = sqlite3.DatabaseError(found)
    error.sqlite_errorname = "SQLITE_CORRUPT"
    return error


def is_damage(problem: Exception) -> bool:
    """Whether the file itself is at fault, not the disk or the system."""
    name = getattr(problem, "sqlite_errorname", "")
    return name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT"))


def set_aside(path: Path) -> Path:
    """Move a damaged file out of the way, with what belongs to it; returns where it is now.

    Raises:
        OSError: it cannot be moved.
    """
    aside = path.with_name(f"{path.name}.damaged")
    path.replace(aside)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    return aside
