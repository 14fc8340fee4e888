"""The thread that owns the database: together where possible, alone where need be."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sire.errors import JobNotFound, JobsUnavailable
from sired.store.jobs.database_thread import JobDatabase
from sired.store.jobs.payloads import JobPayload
from sired.store.jobs.records import Draft
from sired.store.jobs.repository import JobRepository

Use = Callable[[JobDatabase], Awaitable[Any]]
Run = Callable[[Use], Any]


def draft(size: int = 10) -> Draft:
    data = JobPayload("text/plain", (), (bytes(size),))
    return Draft("m", "normal", {}, "", "text/plain", None, data)


@pytest.fixture
def with_database(tmp_path: Path) -> Run:
    """Run a coroutine function with an open job database."""

    def run(use: Use) -> Any:
        async def live() -> Any:
            database = JobDatabase(asyncio.get_running_loop(), tmp_path / "jobs")
            try:
                return await use(database)
            finally:
                database.close()

        return asyncio.run(live())

    return run


def test_calls_are_made_in_order_and_their_results_are_kept_after_a_close(
    with_database: Run,
) -> None:
    async def use(database: JobDatabase) -> Any:
        answers = [
            database.call(lambda repository: repository.accept([draft()])) for _ in range(300)
        ]
        found = database.call(lambda repository: repository.unfinished())
        return [job for ids in await asyncio.gather(*answers) for job in ids], await found

    accepted, found = with_database(use)
    assert accepted == found

    async def again(database: JobDatabase) -> list[str]:
        return await database.call(lambda repository: repository.unfinished())

    assert with_database(again) == accepted


def test_what_is_asked_for_before_a_close_is_still_done(with_database: Run) -> None:
    async def use(database: JobDatabase) -> None:
        database.call(lambda repository: repository.accept([draft()]))

    with_database(use)

    async def again(database: JobDatabase) -> list[str]:
        return await database.call(lambda repository: repository.unfinished())

    assert len(with_database(again)) == 1


def test_an_unknown_job_fails_its_own_call(with_database: Run) -> None:
    async def use(database: JobDatabase) -> Any:
        calls = (
            database.call(lambda repository: repository.accept([draft()])),
            database.call(lambda repository: repository.get(["nobody"])),
            database.call(lambda repository: repository.accept([draft()])),
        )
        return await asyncio.gather(*calls, return_exceptions=True)

    first, error, last = with_database(use)
    assert isinstance(error, JobNotFound)
    assert len(first) == len(last) == 1


def test_a_disk_that_fills_up_fails_what_does_not_fit_and_nothing_else(with_database: Run) -> None:
    async def use(database: JobDatabase) -> Any:
        def nearly_full(repository: JobRepository) -> None:
            (pages,) = repository.db.execute("PRAGMA page_count").fetchone()
            repository.db.execute(f"PRAGMA max_page_count = {pages + 4}")

        await database.call(nearly_full)

        def accept(size: int, repository: JobRepository) -> list[str]:
            return repository.accept([draft(size)])

        calls = [database.call(partial(accept, size)) for size in (10, 60_000, 10)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        return answers, await database.call(lambda repository: repository.unfinished())

    (first, error, last), kept = with_database(use)
    assert isinstance(error, JobsUnavailable)
    assert "full" in error.message
    assert kept == first + last


def test_a_damaged_database_is_said_so_until_it_is_moved_away(
    with_database: Run, tmp_path: Path
) -> None:
    directory = tmp_path / "jobs"
    directory.mkdir()
    (directory / "jobs.sqlite3").write_bytes(b"no database" * 1000)

    async def use(database: JobDatabase) -> Any:
        with pytest.raises(JobsUnavailable, match="damaged") as caught:
            await database.call(lambda repository: repository.unfinished())
        assert database.problem == str(caught.value)
        assert "mv" in caught.value.hint
        directory.rename(tmp_path / "jobs.damaged")
        ids = await database.call(lambda repository: repository.accept([draft()]))
        assert database.problem == ""
        return ids

    assert len(with_database(use)) == 1


def test_a_place_that_cannot_be_written_to_is_said_so(with_database: Run, tmp_path: Path) -> None:
    (tmp_path / "jobs" / "jobs.sqlite3").mkdir(parents=True)

    async def use(database: JobDatabase) -> None:
        with pytest.raises(JobsUnavailable, match="cannot be used: Is a directory"):
            await database.call(lambda repository: repository.unfinished())

    with_database(use)
