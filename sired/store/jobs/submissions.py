"""The keys of recent submissions, under which a client may submit again without a second job."""

import sqlite3
from collections.abc import Sequence

from sire.errors import InvalidInput, shown
from sired.store.jobs.records import Draft

# Keys are kept until this many jobs were submitted after theirs.
MOST_JOBS = 50_000


def find(db: sqlite3.Connection, key: str, drafts: Sequence[Draft]) -> list[str]:
    """The ids of the jobs that were submitted under a key; none if it is new.

    Raises:
        InvalidInput: those jobs are not these: their model or number differs.
    """
    row = db.execute("SELECT model, jobs FROM submissions WHERE key = ?", (key,)).fetchone()
    if row is None:
        return []
    model, ids = str(row[0]), str(row[1]).split()
    if len(ids) != len(drafts) or any(draft.model != model for draft in drafts):
        raise InvalidInput(
            f"The key {shown(key)} is that of another submission: {len(ids)} jobs of {model}.",
            hint="Choose a new key for each submission, such as a UUID.",
        )
    return ids


def remember(db: sqlite3.Connection, key: str, model: str, ids: Sequence[str]) -> None:
    """Store a key with its jobs, and forget the oldest ones."""
    (total,) = db.execute(
        "INSERT INTO submissions (key, model, jobs, jobs_so_far) VALUES (?, ?, ?,"
        " ? + ifnull((SELECT jobs_so_far FROM submissions ORDER BY seq DESC LIMIT 1), 0))"
        " RETURNING jobs_so_far",
        (key, model, " ".join(ids), len(ids)),
    ).fetchone()
    db.execute("DELETE FROM submissions WHERE jobs_so_far < ?", (total - MOST_JOBS,))
