"""A submission that is repeated under its key has no second job."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from sire.errors import InvalidInput
from sired.store.jobs import submissions
from sired.store.jobs.payloads import JobPayload
from sired.store.jobs.records import Draft
from sired.store.jobs.repository import JobRepository

DATA = JobPayload("application/json", (), (b"1",))


def drafts(count: int = 1, model: str = "m") -> list[Draft]:
    return [Draft(model, "normal", {}, "", "application/json", None, DATA)] * count


def accept(repository: JobRepository, given: list[Draft], key: str = "") -> list[str]:
    repository.begin()
    ids = repository.accept(given, key)
    repository.commit()
    return ids


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[JobRepository]:
    repository = JobRepository(tmp_path / "jobs")
    yield repository
    repository.close()


def test_a_key_is_known_to_the_next_daemon_too(repository: JobRepository, tmp_path: Path) -> None:
    ids = accept(repository, drafts(3), "mine")
    assert accept(repository, drafts(3), "mine") == ids
    repository.close()
    later = JobRepository(tmp_path / "jobs")
    assert accept(later, drafts(3), "mine") == ids
    assert sorted(later.unfinished()) == sorted(ids)
    later.close()


def test_without_a_key_every_submission_has_jobs_of_its_own(repository: JobRepository) -> None:
    assert accept(repository, drafts()) != accept(repository, drafts())
    assert accept(repository, [], "of nothing") == []


def test_the_jobs_of_a_key_are_told_after_they_were_removed(repository: JobRepository) -> None:
    ids = accept(repository, drafts(), "mine")
    repository.remove(ids)
    assert accept(repository, drafts(), "mine") == ids


@pytest.mark.parametrize("other", [drafts(2), drafts(model="n")])
def test_a_key_of_another_submission_is_refused(
    repository: JobRepository, other: list[Draft]
) -> None:
    (job,) = accept(repository, drafts(), "mine")
    with pytest.raises(InvalidInput, match="1 jobs of m"):
        accept(repository, other, "mine")
    assert repository.unfinished() == [job]


def test_old_keys_are_forgotten(repository: JobRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submissions, "MOST_JOBS", 6)
    for number in range(10):
        accept(repository, drafts(2), f"key {number}")
    kept = repository.db.execute("SELECT key FROM submissions ORDER BY seq").fetchall()
    assert kept == [("key 6",), ("key 7",), ("key 8",), ("key 9",)]


def test_a_database_without_keys_is_extended_and_keeps_its_jobs(
    repository: JobRepository, tmp_path: Path
) -> None:
    ids = accept(repository, drafts(2))
    repository.close()
    with sqlite3.connect(tmp_path / "jobs" / "jobs.sqlite3") as old:
        old.executescript("DROP TABLE submissions; PRAGMA user_version = 1;")
    extended = JobRepository(tmp_path / "jobs")
    assert extended.unfinished() == ids
    assert accept(extended, drafts(), "mine") == accept(extended, drafts(), "mine")
    extended.close()
