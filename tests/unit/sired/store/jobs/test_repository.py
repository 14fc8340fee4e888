"""Jobs on disk: what is kept, what is found, what is forgotten."""

import sqlite3
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sire.errors import JobNotFound, JobsUnavailable, ModelNotFound
from sire.spec import JobState, Priority, TensorSpec
from sired.store.jobs.payloads import INLINE_LIMIT, JobPayload
from sired.store.jobs.records import Draft, JobOutcome, Lane
from sired.store.jobs.repository import JobRepository

SMALL = JobPayload("application/json", (), (b"[1, 2]",))
BIG = JobPayload("text/plain", (), (b"x" * INLINE_LIMIT, b"y"))
NORMAL = Lane("m", "normal")


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[JobRepository]:
    repository = JobRepository(tmp_path / "jobs")
    yield repository
    repository.close()


def draft(
    data: JobPayload = SMALL,
    model: str = "m",
    priority: Priority = "normal",
    deadline: float | None = None,
    **metadata: str,
) -> Draft:
    return Draft(model, priority, metadata, "in.json", "application/json", deadline, data)


def accept(repository: JobRepository, *drafts: Draft) -> list[str]:
    repository.begin()
    ids = repository.accept(drafts)
    repository.commit()
    return ids


def finish(
    repository: JobRepository, job: str, result: JobPayload = SMALL, state: JobState = "complete"
) -> None:
    repository.begin()
    assert repository.finish(JobOutcome(job, state, 1.0, 2.0, result, 0.5))
    repository.commit()


def first_data(repository: JobRepository) -> JobPayload:
    """The input of the first job of the lane."""
    data = repository.take(NORMAL, [], 1)[0].data
    assert data is not None
    return data


def spooled(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "jobs" / "spool").iterdir())


def test_a_job_is_found_again_by_the_next_to_open_the_book(
    tmp_path: Path, repository: JobRepository
) -> None:
    (job,) = accept(repository, draft(batch="7"))
    repository.close()
    (found,) = JobRepository(tmp_path / "jobs").get([job])
    assert (found.state, found.metadata, found.source) == ("pending", {"batch": "7"}, "in.json")
    assert found.input_bytes == SMALL.size
    assert time.time() - found.created_at < 10


def test_ids_are_short_unique_and_typeable(repository: JobRepository) -> None:
    ids = accept(repository, *[draft() for _ in range(500)])
    assert len(set(ids)) == 500
    assert all(len(job) == 7 and job.isalnum() and not set(job) & set("01lo") for job in ids)


def test_a_lane_is_read_in_the_order_of_arrival_but_for_what_was_taken(
    repository: JobRepository,
) -> None:
    ids = accept(repository, *[draft() for _ in range(5)])
    accept(repository, draft(priority="high"), draft(model="n"))
    first = repository.take(NORMAL, [], 2)
    rest = repository.take(NORMAL, [one.job.id for one in first], 10)
    assert [one.job.id for one in first + rest] == ids
    assert set(repository.lanes()) == {NORMAL, Lane("m", "high"), Lane("n", "normal")}


@pytest.mark.parametrize("data", [SMALL, BIG, JobPayload("application/x-npy", (), (b"",))])
def test_payloads_come_back_frame_by_frame(repository: JobRepository, data: JobPayload) -> None:
    accept(repository, draft(data))
    taken = first_data(repository)
    assert taken.content_type == data.content_type
    assert [bytes(frame) for frame in taken.frames] == list(data.frames)


def test_what_the_frames_hold_comes_back(repository: JobRepository) -> None:
    tensors = (TensorSpec("x", "float32", (2, 3)),)
    accept(repository, draft(JobPayload("application/x-sire-tensors", tensors, (bytes(24),))))
    assert first_data(repository).tensors == tensors


def test_only_what_is_big_lies_in_the_spool_and_only_while_it_is_needed(
    repository: JobRepository, tmp_path: Path
) -> None:
    small, big = accept(repository, draft(), draft(BIG))
    (file,) = spooled(tmp_path)
    assert stat.S_IMODE((tmp_path / "jobs" / "spool" / file).stat().st_mode) == 0o600
    finish(repository, big, result=BIG)
    assert spooled(tmp_path) != [file]
    assert len(spooled(tmp_path)) == 1
    repository.begin()
    repository.remove([small, big])
    repository.commit()
    assert spooled(tmp_path) == []


def test_a_step_that_is_rolled_back_leaves_no_file_and_takes_none_away(
    repository: JobRepository, tmp_path: Path
) -> None:
    (kept,) = accept(repository, draft(BIG))
    before = spooled(tmp_path)
    repository.begin()
    repository.accept([draft(BIG)])
    repository.remove([kept])
    repository.roll_back()
    assert spooled(tmp_path) == before
    assert bytes(first_data(repository).frames[1]) == b"y"


def test_files_that_a_crash_left_behind_are_swept_up(
    repository: JobRepository, tmp_path: Path
) -> None:
    accept(repository, draft(BIG))
    (tmp_path / "jobs" / "spool" / "orphan").write_bytes(b"x")
    repository.close()
    JobRepository(tmp_path / "jobs").close()
    assert "orphan" not in spooled(tmp_path)
    assert len(spooled(tmp_path)) == 1


def test_a_file_that_somebody_removed_is_said_so_and_hurts_no_other_job(
    repository: JobRepository, tmp_path: Path
) -> None:
    done, _ = accept(repository, draft(), draft(BIG))
    finish(repository, done, result=BIG)
    for name in spooled(tmp_path):
        (tmp_path / "jobs" / "spool" / name).unlink()
    assert [one.data for one in repository.take(NORMAL, [], 9)] == [None]
    with pytest.raises(JobsUnavailable, match="result of the job .* is missing"):
        repository.result(done)


def test_a_job_ends_once(repository: JobRepository) -> None:
    (job,) = accept(repository, draft())
    finish(repository, job)
    assert not repository.finish(JobOutcome(job, "failed"))
    found, result = repository.result(job)
    assert (found.state, found.started_at, found.compute_seconds) == ("complete", 2.0, 0.5)
    assert result is not None
    assert bytes(result.frames[0]) == b"[1, 2]"
    assert repository.cancel([job]) == []
    assert repository.take(NORMAL, [], 9) == []


def test_an_id_that_is_nobodys_brings_those_that_come_near(repository: JobRepository) -> None:
    ids = accept(repository, draft(), draft())
    typed = ids[1][:-1] + ("a" if ids[1][-1] != "a" else "b")
    with pytest.raises(JobNotFound) as caught:
        repository.get([ids[0], typed])
    assert ids[1] in caught.value.hint


def test_jobs_are_listed_latest_first_by_state_and_model(repository: JobRepository) -> None:
    one, two, three = accept(repository, draft(), draft(model="n"), draft())
    finish(repository, one)
    assert [job.id for job in repository.find()] == [three, two, one]
    assert [job.id for job in repository.find(state="pending")] == [three, two]
    assert [job.id for job in repository.find(model="m", limit=1)] == [three]
    assert [job.id for job in repository.find(only=[one, two], exclude=[two])] == [one]
    assert repository.unfinished() == [two, three]


def test_jobs_are_counted_by_state_and_model(repository: JobRepository) -> None:
    one, *_ = accept(repository, draft(), draft(model="n"), draft())
    finish(repository, one)
    assert repository.count(()) == {"complete": 1, "pending": 2}
    assert repository.count(("n",)) == {"pending": 1}
    assert repository.count(("none",)) == {}


def test_those_ahead_are_of_the_same_model_and_higher_or_earlier(repository: JobRepository) -> None:
    _, waits = accept(repository, draft(), draft())
    accept(repository, draft(priority="high"), draft(priority="low"), draft(model="n"), draft())
    assert repository.ahead(waits) == 2


def test_a_removed_model_fails_its_pending_jobs_but_those_that_run(
    repository: JobRepository,
) -> None:
    one, runs, other = accept(repository, draft(), draft(), draft(model="n"))
    error = ModelNotFound("m is gone", hint="ls")
    assert repository.model_gone("m", error, [runs]) == [one]
    (failed,) = repository.get([one])
    assert failed.error is not None
    assert (failed.state, failed.error.code, failed.error.hint) == ("failed", "ModelNotFound", "ls")
    assert {job.state for job in repository.get([runs, other])} == {"pending"}


def test_a_job_whose_time_is_over_fails_unless_it_is_being_run(repository: JobRepository) -> None:
    late, runs, timely = accept(
        repository,
        draft(deadline=time.time() - 1),
        draft(deadline=time.time() - 1),
        draft(deadline=time.time() + 100),
    )
    assert repository.overdue([runs]) == [late]
    error = repository.get([late])[0].error
    assert error is not None
    assert error.code == "DeadlineExceeded"
    assert repository.unfinished() == [runs, timely]


@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ((3600, 100, 1 << 30), 4),
        ((3600, 2, 1 << 30), 2),
        ((3600, 100, BIG.size * 2), 2),
        ((3600, 100, BIG.size * 2 - 1), 1),
        ((0, 100, 1 << 30), 0),
    ],
)
def test_finished_jobs_are_forgotten_by_age_count_and_bytes_the_oldest_first(
    repository: JobRepository, tmp_path: Path, keep: tuple[float, int, int], left: int
) -> None:
    ids = accept(repository, *[draft() for _ in range(5)])
    for job in ids[:4]:
        finish(repository, job, result=BIG)
    repository.begin()
    assert repository.tidy(*keep) == 4 - left
    repository.commit()
    assert [job.id for job in repository.find(state="complete")] == ids[4 - left : 4][::-1]
    assert repository.unfinished() == [ids[4]]
    assert len(spooled(tmp_path)) == left


def test_old_ones_are_removed_by_hand(repository: JobRepository) -> None:
    one, two = accept(repository, draft(), draft())
    finish(repository, one)
    assert repository.remove_finished(3600) == []
    assert repository.remove_finished(0) == [one]
    assert [job.id for job in repository.find()] == [two]


def test_a_book_of_a_newer_sire_is_left_alone(repository: JobRepository, tmp_path: Path) -> None:
    repository.close()
    with sqlite3.connect(tmp_path / "jobs" / "jobs.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(JobsUnavailable, match="newer"):
        JobRepository(tmp_path / "jobs")
