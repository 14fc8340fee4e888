"""The clock on the wall is set forward or back: no job is lost, late or forgotten by that."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sired.daemon.jobs.wall_clock import WallClock
from sired.store.jobs.payloads import JobPayload
from sired.store.jobs.records import Draft, JobOutcome
from sired.store.jobs.repository import JobRepository

A_DAY, A_YEAR = 86_400.0, 365 * 86_400.0
INPUT = JobPayload("application/json", (), (b"[1]",))


class Clocks:
    """What the two clocks of a machine show."""

    def __init__(self) -> None:
        self.wall, self.steady = 1_800_000_000.0, 1_000.0

    def pass_by(self, seconds: float, drift: float = 0.0) -> None:
        self.wall += seconds + drift
        self.steady += seconds

    def both(self) -> WallClock:
        return WallClock(lambda: self.wall, lambda: self.steady)


@pytest.mark.parametrize("jump", [A_YEAR, -A_YEAR, 3600.0, -5.0])
def test_a_clock_that_is_set_is_noticed_once_however_much_time_has_passed(jump: float) -> None:
    clocks = Clocks()
    clock = clocks.both()
    clocks.pass_by(A_DAY)
    assert clock.read_jump() == 0
    clocks.pass_by(10.0, drift=jump)
    assert clock.read_jump() == pytest.approx(jump)
    clocks.pass_by(10.0)
    assert clock.read_jump() == 0


def test_small_corrections_are_no_news_until_they_have_become_large() -> None:
    clocks = Clocks()
    clock = clocks.both()
    noticed = []
    for _ in range(30):
        clocks.pass_by(1.0, drift=0.1)
        noticed.append(clock.read_jump())
    assert sum(noticed) == pytest.approx(2.0, abs=1.1)
    assert noticed.count(0) >= 28


def test_the_clock_of_this_machine_goes_as_it_should() -> None:
    clock = WallClock()
    time.sleep(0.01)
    assert clock.read_jump() == 0


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[JobRepository]:
    repository = JobRepository(tmp_path / "jobs")
    yield repository
    repository.close()


@pytest.mark.parametrize("jump", [A_YEAR, -A_YEAR])
def test_times_of_jobs_go_with_the_clock(repository: JobRepository, jump: float) -> None:
    now = time.time()
    repository.begin()
    drafts = [
        Draft("m", "normal", {}, "in.json", "application/json", deadline, INPUT)
        for deadline in (now + 3600, None, None)
    ]
    waits, done, forever = repository.accept(drafts)
    repository.finish(JobOutcome(done, "complete", now, now, INPUT, 0.1))
    before = {job.id: job for job in repository.get([waits, done, forever])}
    repository.move_times(jump)
    repository.commit()
    after = {job.id: job for job in repository.get([waits, done, forever])}
    deadline_at, finished_at = before[waits].deadline_at, before[done].finished_at
    assert deadline_at is not None
    assert finished_at is not None
    assert after[waits].deadline_at == pytest.approx(deadline_at + jump)
    assert after[done].finished_at == pytest.approx(finished_at + jump)
    assert after[forever].deadline_at is None
    assert after[waits].finished_at is None


def test_after_the_clock_was_put_forward_nothing_is_overdue_or_too_old(
    repository: JobRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    repository.begin()
    drafts = [
        Draft("m", "normal", {}, "in.json", "application/json", now + 3600, INPUT) for _ in range(2)
    ]
    waits, done = repository.accept(drafts)
    repository.finish(JobOutcome(done, "complete", now, now, INPUT, 0.1))
    monkeypatch.setattr(time, "time", lambda: now + A_YEAR)
    repository.move_times(A_YEAR)
    assert repository.overdue(()) == []
    assert repository.tidy(7 * A_DAY, 1000, 1 << 30) == 0
    assert {job.id for job in repository.get([waits, done])} == {waits, done}
    repository.commit()
