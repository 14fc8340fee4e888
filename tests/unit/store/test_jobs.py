"""Jobs on disk: what is kept, what is found, what is forgotten."""

import sqlite3
import stat
import time

import pytest

from sire.errors import JobNotFound, JobsUnavailable, ModelNotFound
from sire.spec import TensorSpec
from sired.store.jobs.repository import JobBook
from sired.store.jobs.records import Draft, Lane, Outcome
from sired.store.jobs.payloads import INLINE_LIMIT, Data

SMALL = Data("application/json", (), (b"[1, 2]",))
BIG = Data("text/plain", (), (b"x" * INLINE_LIMIT, b"y"))
NORMAL = Lane("m", "normal")


@pytest.fixture
def book(tmp_path):
    book = JobBook(tmp_path / "jobs")
    yield book
    book.close()


def draft(data=SMALL, model="m", priority="normal", deadline=None, **metadata):
    return Draft(model, priority, metadata, "in.json", "application/json", deadline, data)


def accept(book, *drafts):
    book.begin()
    ids = book.accept(drafts)
    book.commit()
    return ids


def finish(book, job, result=SMALL, state="complete"):
    book.begin()
    assert book.finish(Outcome(job, state, 1.0, 2.0, result, 0.5))
    book.commit()


def spooled(tmp_path):
    return sorted(path.name for path in (tmp_path / "jobs" / "spool").iterdir())


def test_a_job_is_found_again_by_the_next_to_open_the_book(tmp_path, book):
    (job,) = accept(book, draft(batch="7"))
    book.close()
    (found,) = JobBook(tmp_path / "jobs").get([job])
    assert (found.state, found.metadata, found.source) == ("pending", {"batch": "7"}, "in.json")
    assert found.input_bytes == SMALL.size
    assert time.time() - found.created_at < 10


def test_ids_are_short_unique_and_typeable(book):
    ids = accept(book, *[draft() for _ in range(500)])
    assert len(set(ids)) == 500
    assert all(len(job) == 7 and job.isalnum() and not set(job) & set("01lo") for job in ids)


def test_a_lane_is_read_in_the_order_of_arrival_but_for_what_was_taken(book):
    ids = accept(book, *[draft() for _ in range(5)])
    accept(book, draft(priority="high"), draft(model="n"))
    first = book.take(NORMAL, [], 2)
    rest = book.take(NORMAL, [one.job.id for one in first], 10)
    assert [one.job.id for one in first + rest] == ids
    assert set(book.lanes()) == {NORMAL, Lane("m", "high"), Lane("n", "normal")}


@pytest.mark.parametrize("data", [SMALL, BIG, Data("application/x-npy", (), (b"",))])
def test_payloads_come_back_frame_by_frame(book, data):
    accept(book, draft(data))
    (taken,) = book.take(NORMAL, [], 1)
    assert taken.data.content_type == data.content_type
    assert [bytes(frame) for frame in taken.data.frames] == list(data.frames)


def test_what_the_frames_hold_comes_back(book):
    tensors = (TensorSpec("x", "float32", (2, 3)),)
    accept(book, draft(Data("application/x-sire-tensors", tensors, (bytes(24),))))
    assert book.take(NORMAL, [], 1)[0].data.tensors == tensors


def test_only_what_is_big_lies_in_the_spool_and_only_while_it_is_needed(book, tmp_path):
    small, big = accept(book, draft(), draft(BIG))
    (file,) = spooled(tmp_path)
    assert stat.S_IMODE((tmp_path / "jobs" / "spool" / file).stat().st_mode) == 0o600
    finish(book, big, result=BIG)
    assert spooled(tmp_path) != [file]
    assert len(spooled(tmp_path)) == 1
    book.begin()
    book.remove([small, big])
    book.commit()
    assert spooled(tmp_path) == []


def test_a_step_that_is_rolled_back_leaves_no_file_and_takes_none_away(book, tmp_path):
    (kept,) = accept(book, draft(BIG))
    before = spooled(tmp_path)
    book.begin()
    book.accept([draft(BIG)])
    book.remove([kept])
    book.roll_back()
    assert spooled(tmp_path) == before
    assert bytes(book.take(NORMAL, [], 1)[0].data.frames[1]) == b"y"


def test_files_that_a_crash_left_behind_are_swept_up(book, tmp_path):
    accept(book, draft(BIG))
    (tmp_path / "jobs" / "spool" / "orphan").write_bytes(b"x")
    book.close()
    JobBook(tmp_path / "jobs").close()
    assert "orphan" not in spooled(tmp_path)
    assert len(spooled(tmp_path)) == 1


def test_a_file_that_somebody_removed_is_said_so_and_hurts_no_other_job(book, tmp_path):
    done, _ = accept(book, draft(), draft(BIG))
    finish(book, done, result=BIG)
    for name in spooled(tmp_path):
        (tmp_path / "jobs" / "spool" / name).unlink()
    assert [one.data for one in book.take(NORMAL, [], 9)] == [None]
    with pytest.raises(JobsUnavailable, match="answer of the job .* is gone"):
        book.result(done)


def test_a_job_ends_once(book):
    (job,) = accept(book, draft())
    finish(book, job)
    assert not book.finish(Outcome(job, "failed"))
    found, result = book.result(job)
    assert (found.state, found.started_at, found.compute_seconds) == ("complete", 2.0, 0.5)
    assert bytes(result.frames[0]) == b"[1, 2]"
    assert book.cancel([job]) == []
    assert book.take(NORMAL, [], 9) == []


def test_an_id_that_is_nobodys_brings_those_that_come_near(book):
    ids = accept(book, draft(), draft())
    typed = ids[1][:-1] + ("a" if ids[1][-1] != "a" else "b")
    with pytest.raises(JobNotFound) as caught:
        book.get([ids[0], typed])
    assert ids[1] in caught.value.hint


def test_jobs_are_listed_latest_first_by_state_and_model(book):
    one, two, three = accept(book, draft(), draft(model="n"), draft())
    finish(book, one)
    assert [job.id for job in book.find()] == [three, two, one]
    assert [job.id for job in book.find(state="pending")] == [three, two]
    assert [job.id for job in book.find(model="m", limit=1)] == [three]
    assert [job.id for job in book.find(only=[one, two], but=[two])] == [one]
    assert book.unfinished() == [two, three]


def test_those_ahead_are_of_the_same_model_and_higher_or_earlier(book):
    _, waits = accept(book, draft(), draft())
    accept(book, draft(priority="high"), draft(priority="low"), draft(model="n"), draft())
    assert book.ahead(waits) == 2


def test_a_removed_model_fails_its_pending_jobs_but_those_that_run(book):
    one, runs, other = accept(book, draft(), draft(), draft(model="n"))
    error = ModelNotFound("m is gone", hint="ls")
    assert book.model_gone("m", error, [runs]) == [one]
    (failed,) = book.get([one])
    assert (failed.state, failed.error.code, failed.error.hint) == ("failed", "ModelNotFound", "ls")
    assert {job.state for job in book.get([runs, other])} == {"pending"}


def test_a_job_whose_time_is_over_fails_unless_it_is_being_run(book):
    late, runs, timely = accept(
        book,
        draft(deadline=time.time() - 1),
        draft(deadline=time.time() - 1),
        draft(deadline=time.time() + 100),
    )
    assert book.overdue([runs]) == [late]
    assert book.get([late])[0].error.code == "DeadlineExceeded"
    assert book.unfinished() == [runs, timely]


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
    book, tmp_path, keep, left
):
    ids = accept(book, *[draft() for _ in range(5)])
    for job in ids[:4]:
        finish(book, job, result=BIG)
    book.begin()
    assert book.tidy(*keep) == 4 - left
    book.commit()
    assert [job.id for job in book.find(state="complete")] == ids[4 - left : 4][::-1]
    assert book.unfinished() == [ids[4]]
    assert len(spooled(tmp_path)) == left


def test_old_ones_are_removed_by_hand(book):
    one, two = accept(book, draft(), draft())
    finish(book, one)
    assert book.remove_finished(3600) == []
    assert book.remove_finished(0) == [one]
    assert [job.id for job in book.find()] == [two]


def test_a_book_of_a_newer_sire_is_left_alone(book, tmp_path):
    book.close()
    with sqlite3.connect(tmp_path / "jobs" / "jobs.sqlite3") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(JobsUnavailable, match="newer"):
        JobBook(tmp_path / "jobs")
