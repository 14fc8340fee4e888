"""Jobs through a real daemon: accepted once, lost never, whatever is killed."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sire import ModelManager
from sire.client.autostart import daemon_runs
from sire.client.calls.job_wait import wait_for_jobs
from sire.client.connection import Connection
from sire.errors import (
    Cancelled,
    DaemonUnavailable,
    DeadlineExceeded,
    InferenceError,
    InvalidInput,
    JobNotFound,
    JobsUnavailable,
    ModelNotFound,
    WorkerCrashed,
)
from sire.protocol.jobs import (
    CancelJobs,
    JobEnd,
    JobIds,
    JobInput,
    JobList,
    JobReport,
    JobResult,
    ListJobs,
    RemoveJobs,
    ShowJob,
    Submit,
    Submitted,
    UnfinishedJobs,
)
from sire.protocol.replies import HealthReport
from sire.protocol.requests import Health, Load, Predict, Remove
from sire.spec import JobState
from tests.conftest import Gate
from tests.home import Home
from tests.waiting import wait_until

PATIENCE = 90.0


def submit(
    connection: Connection, *firsts: int, model: str = "m", **options: Any
) -> tuple[str, ...]:
    """Submit a job for each number, all in one message."""
    request = Submit(model=model, inputs=tuple(JobInput() for _ in firsts), **options)
    bodies = [json.dumps([first, 1, 1, 1]).encode() for first in firsts]
    return connection.expect(Submitted, request, bodies).jobs


def wait(connection: Connection, jobs: Any) -> dict[str, JobEnd]:
    return {end.job: end for end in wait_for_jobs(connection, jobs, PATIENCE)}


def result(connection: Connection, job: str) -> list[float]:
    _, frames = connection.ask(JobResult(job=job))
    numbers: list[float] = json.loads(bytes(frames[0]))
    return numbers


def state(connection: Connection, job: str) -> str:
    return connection.expect(JobReport, ShowJob(job=job)).job.state


def unfinished(connection: Connection) -> tuple[str, ...]:
    return connection.expect(JobIds, UnfinishedJobs()).jobs


def kill_daemon(home: Home) -> None:
    """End the daemon and its workers as a power cut would."""
    os.kill(home.pid(), signal.SIGKILL)
    wait_until(lambda: not daemon_runs(home.paths))


@pytest.fixture
def moody(home: Home, register: Callable[..., Any]) -> Iterator[Connection]:
    register("m", 2, "Moody")
    with home.connect() as connection:
        yield connection


def test_a_job_is_run_and_its_answer_kept(moody: Connection) -> None:
    (job,) = submit(moody, 7, metadata={"batch": "1"}, priority="low")
    assert wait(moody, [job])[job].state == "complete"
    assert result(moody, job) == [14, 2, 2, 2]
    kept = moody.expect(JobReport, ShowJob(job=job)).job
    assert kept.queued_at is not None
    assert kept.started_at is not None
    assert kept.finished_at is not None
    assert kept.created_at <= kept.queued_at <= kept.started_at <= kept.finished_at
    assert (kept.metadata, kept.priority) == ({"batch": "1"}, "low")
    assert kept.compute_seconds is not None
    assert kept.compute_seconds > 0


@pytest.mark.own_daemon
def test_jobs_accepted_running_and_done_survive_a_killed_daemon(
    home: Home, moody: Connection, gate: Gate
) -> None:
    done, *_ = submit(moody, 7)
    wait(moody, [done])
    runs, *waiting = submit(moody, 5, 8, 9)
    wait_until(lambda: state(moody, runs) == "running")
    kill_daemon(home)
    gate.open()
    with home.connect() as connection:
        assert result(connection, done) == [14, 2, 2, 2]
        ends = wait(connection, [runs, *waiting])
        assert {end.state for end in ends.values()} == {"complete"}
        assert [result(connection, job)[0] for job in (runs, *waiting)] == [10, 16, 18]


@pytest.mark.own_daemon
def test_jobs_accepted_while_the_daemon_is_killed_again_and_again_are_all_run(
    home: Home, moody: Connection
) -> None:
    accepted: list[str] = []
    stop = threading.Event()

    def keep_submitting() -> None:
        while not stop.is_set():
            try:
                with home.connect() as connection:
                    accepted.extend(submit(connection, *range(10, 20)))
            except Exception:  # noqa: S112 (the daemon was killed, no job acknowledged)
                continue

    def are_accepted(count: int) -> bool:
        return len(accepted) >= count

    submitting = threading.Thread(target=keep_submitting)
    submitting.start()
    for round_ in range(1, 4):
        wait_until(partial(are_accepted, 100 * round_))
        kill_daemon(home)
    stop.set()
    submitting.join(PATIENCE)
    with home.connect() as connection:
        ends = wait(connection, accepted)
        assert {end.state for end in ends.values()} == {"complete"}
        assert len(set(accepted)) == len(ends)
        assert [result(connection, job)[0] for job in accepted[:10]] == list(range(20, 40, 2))


@pytest.mark.own_daemon
def test_a_stop_puts_back_what_runs_and_the_next_daemon_runs_it(
    home: Home, register: Callable[..., Any], gate: Gate
) -> None:
    home.configure('[daemon]\ngrace = "100ms"\n')
    register("m", 2, "Moody")
    with home.connect() as connection:
        runs, waits = submit(connection, 5, 8)
        wait_until(lambda: state(connection, runs) == "running")
    home.sire("daemon", "stop")
    gate.open()
    with home.connect() as connection:
        wait(connection, [runs, waits])
        assert result(connection, runs) == [10, 2, 2, 2]


@pytest.mark.own_daemon
def test_a_stop_lets_the_running_job_finish_within_the_grace_period(
    home: Home, moody: Connection, gate: Gate
) -> None:
    (job,) = submit(moody, 5)
    wait_until(lambda: state(moody, job) == "running")
    started = moody.expect(JobReport, ShowJob(job=job)).job.started_at
    os.kill(home.pid(), signal.SIGTERM)
    wait_until(lambda: refuses(moody))
    gate.open()
    wait_until(lambda: not daemon_runs(home.paths))
    with home.connect() as connection:
        kept = connection.expect(JobReport, ShowJob(job=job)).job
    assert (kept.state, kept.started_at) == ("complete", started)


def refuses(connection: Connection) -> bool:
    """Whether the daemon takes no new jobs."""
    try:
        submit(connection, 7, model="nobody")
    except ModelNotFound:
        return False
    except DaemonUnavailable:
        return True
    raise AssertionError("a model of that name is registered")


def test_a_thousand_jobs_are_accepted_and_each_has_its_own_answer(
    home: Home, moody: Connection
) -> None:
    before = home.json("stats", "m")["inference_count"]
    jobs = submit(moody, *range(1000, 2000))
    assert len(set(jobs)) == 1000
    assert len(unfinished(moody)) <= 1000
    ends = wait(moody, jobs)
    assert {end.state for end in ends.values()} == {"complete"}
    assert [result(moody, job)[0] for job in jobs] == list(range(2000, 4000, 2))
    assert home.json("stats", "m")["inference_count"] == before + 1000


def test_two_who_submit_at_once_get_their_own_jobs(home: Home, moody: Connection) -> None:
    ids = {}

    def run(first: int) -> None:
        with home.connect() as connection:
            ids[first] = [submit(connection, first + n)[0] for n in range(50)]

    threads = [threading.Thread(target=run, args=(first,)) for first in (100, 200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    wait(moody, ids[100] + ids[200])
    for first, jobs in ids.items():
        assert [result(moody, job)[0] for job in jobs] == [2 * (first + n) for n in range(50)]


def test_a_pending_and_a_running_job_are_cancelled(moody: Connection, gate: Gate) -> None:
    runs, *waiting = submit(moody, 5, *range(10, 60))
    wait_until(lambda: state(moody, runs) == "running")
    last = waiting[-1]
    assert state(moody, last) == "pending"
    assert moody.expect(JobIds, CancelJobs(jobs=(runs, last))).jobs == (runs, last)
    gate.open()
    ends = wait(moody, [runs, *waiting])
    assert {job for job, end in ends.items() if end.state == "cancelled"} == {runs, last}
    with pytest.raises(Cancelled):
        result(moody, runs)
    assert moody.expect(JobIds, CancelJobs(jobs=(runs, waiting[0]))).jobs == ()


def test_all_are_cancelled_and_who_waits_for_them_is_told(
    home: Home, moody: Connection, gate: Gate
) -> None:
    jobs = submit(moody, 5, *range(10, 100))
    ends = {}

    def watch() -> None:
        with home.connect() as connection:
            ends.update(wait(connection, jobs))

    watching = threading.Thread(target=watch)
    watching.start()
    wait_until(lambda: state(moody, jobs[0]) == "running")
    assert set(moody.expect(JobIds, CancelJobs(all=True)).jobs) == set(jobs)
    gate.open()
    watching.join(PATIENCE)
    assert {end.state for end in ends.values()} == {"cancelled"}
    assert unfinished(moody) == ()


def test_a_failed_job_raises_what_a_prediction_would_have(moody: Connection) -> None:
    fine, raises, crashes = submit(moody, 7, 1, 2)
    ends = wait(moody, [fine, raises, crashes])
    assert ends[fine].state == "complete"
    assert (ends[raises].state, ends[raises].error) == ("failed", "InferenceError")
    with pytest.raises(InferenceError, match="no ones, please"):
        result(moody, raises)
    with pytest.raises(WorkerCrashed, match="SIGKILL"):
        result(moody, crashes)


@pytest.mark.own_daemon
def test_jobs_that_find_the_queue_full_wait(home: Home, register: Callable[..., Any]) -> None:
    home.configure("[queue]\nper_model = 1\n")
    register("m", 2, "Moody")
    with home.connect() as connection:
        jobs = submit(connection, *range(10, 30))
        ends = wait(connection, jobs)
    assert {end.state for end in ends.values()} == {"complete"}


def test_a_removed_model_fails_its_pending_jobs(moody: Connection, gate: Gate) -> None:
    runs, *waiting = submit(moody, 5, *range(10, 60))
    wait_until(lambda: state(moody, runs) == "running")
    moody.ask(Remove(name="m"))
    gate.open()
    ends = wait(moody, waiting[5:])
    assert {end.error for end in ends.values()} == {"ModelNotFound"}
    with pytest.raises(ModelNotFound, match="was removed"):
        result(moody, waiting[-1])
    assert wait(moody, [runs])[runs].state == "complete"
    with pytest.raises(ModelNotFound):
        submit(moody, 7)


def test_a_job_that_has_not_ended_in_its_time_fails(moody: Connection, gate: Gate) -> None:
    submit(moody, 5, 5)
    (late,) = submit(moody, 7, timeout=0.3)
    end = wait(moody, [late])[late]
    assert (end.state, end.error) == ("failed", "DeadlineExceeded")


@pytest.mark.own_daemon
def test_a_job_whose_turn_comes_late_has_its_full_time_then(
    home: Home, register: Callable[..., Any]
) -> None:
    home.configure('[jobs]\ntimeout = "3.5s"\n')
    register("m", 2, "Moody")
    with home.connect() as connection:
        connection.ask(Load(name="m"))
        # A second each: together they take longer than any of them may.
        jobs = submit(connection, -1, -1, -1, -1, 7)
        assert {end.state for end in wait(connection, jobs).values()} == {"complete"}


@pytest.mark.own_daemon
def test_finished_jobs_are_forgotten_when_they_become_too_many(
    home: Home, register: Callable[..., Any]
) -> None:
    home.configure("[jobs]\nkeep_count = 3\n")
    register("m", 2)
    with home.connect() as connection:
        jobs = submit(connection, *range(10))
        wait_until(lambda: len(connection.expect(JobList, ListJobs()).jobs) == 3)
        with pytest.raises(JobNotFound):
            result(connection, jobs[0])
        assert result(connection, jobs[-1]) == [18, 2, 2, 2]
        gone = connection.expect(JobIds, RemoveJobs(older_than=0)).jobs
        assert set(gone) == set(jobs[-3:])


def test_lists_tell_what_is_pending_queued_and_running(moody: Connection, gate: Gate) -> None:
    jobs = submit(moody, 5, *range(10, 100))

    def listed(state: JobState) -> list[str]:
        return [job.id for job in moody.expect(JobList, ListJobs(state=state)).jobs]

    def all_are_listed() -> bool:
        pending, queued, running = listed("pending"), listed("queued"), listed("running")
        there = jobs[0] in running and bool(queued) and jobs[-1] in pending
        return there and sorted([*pending, *queued, *running]) == sorted(jobs)

    wait_until(all_are_listed)  # they go from one list to the next while we ask
    report = moody.expect(JobReport, ShowJob(job=jobs[-1]))
    assert report.ahead == 90
    moody.ask(CancelJobs(all=True))


def test_a_job_tells_how_long_it_will_wait_by_what_others_took(
    moody: Connection, gate: Gate
) -> None:
    (first,) = submit(moody, 0)
    wait_until(lambda: state(moody, first) == "complete")
    jobs = submit(moody, 5, *range(10, 100))
    wait_until(lambda: state(moody, jobs[5]) == "queued")
    queued, pending = (moody.expect(JobReport, ShowJob(job=job)) for job in (jobs[5], jobs[-1]))
    assert (queued.job.state, pending.job.state) == ("queued", "pending")
    assert queued.wait_seconds is not None
    assert pending.wait_seconds is not None
    assert 0 < queued.wait_seconds < pending.wait_seconds
    moody.ask(CancelJobs(all=True))


def test_a_big_input_and_a_big_answer_go_through_the_spool(
    home: Home, register: Callable[..., Any], zoo: Path
) -> None:
    register("m", 3)
    data = np.arange(4 * 50_000, dtype=np.float32).reshape(-1, 4)
    with ModelManager(home=home.path) as manager:
        job = manager.submit("m", data, metadata={"size": "big"})
        assert manager.wait_job(job, PATIENCE).state == "complete"
        assert np.array_equal(manager.job_result(job), 3 * data)
        # The input goes, the answer stays.
        wait_until(lambda: len(list((home.paths.jobs / "spool").iterdir())) == 1)
        assert manager.job(job).metadata == {"size": "big"}
        small = manager.submit("m", {"x": np.ones(4, np.float32)}, priority="high")
        manager.wait_job(small, PATIENCE)
        assert manager.job_result(small).tolist() == [3, 3, 3, 3]
        with pytest.raises(JobNotFound):
            manager.job("nobody")


def test_frames_that_do_not_match_the_inputs_are_refused(moody: Connection) -> None:
    with pytest.raises(InvalidInput, match="announces 2 frames for 2 inputs, but 1 arrived"):
        moody.ask(Submit(model="m", inputs=(JobInput(), JobInput())), [b"[1, 1, 1, 1]"])
    assert unfinished(moody) == ()


def test_a_wait_that_is_not_fulfilled_ends_in_time(moody: Connection, gate: Gate) -> None:
    (job,) = submit(moody, 5)
    with pytest.raises(DeadlineExceeded, match="has not ended"):
        list(wait_for_jobs(moody, [job], 0.1))
    with pytest.raises(DeadlineExceeded, match="no result yet"):
        result(moody, job)


@pytest.mark.own_daemon
def test_a_damaged_database_does_not_stop_predictions(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2)
    home.sire("daemon", "stop")
    (home.paths.jobs / "jobs.sqlite3").write_bytes(b"rubbish" * 1000)
    with home.connect() as connection:
        with pytest.raises(JobsUnavailable, match="damaged"):
            submit(connection, 7)
        _, frames = connection.ask(Predict(model="m"), [b"[1, 1, 1, 1]"])
        assert json.loads(bytes(frames[0])) == [2, 2, 2, 2]
        assert any(
            "damaged" in problem for problem in connection.expect(HealthReport, Health()).problems
        )


@pytest.mark.own_daemon
def test_a_disk_that_takes_no_more_fails_the_submit_and_nothing_else(
    home: Home, moody: Connection
) -> None:
    (before,) = submit(moody, 7)
    wait(moody, [before])
    limit(home.pid(), 200_000)
    with pytest.raises(JobsUnavailable):
        moody.ask(Submit(model="m"), [bytes(1_000_000)])
    wait_until(lambda: not any((home.paths.jobs / "spool").iterdir()))
    _, frames = moody.ask(Predict(model="m"), [b"[7, 1, 1, 1]"])
    assert json.loads(bytes(frames[0])) == [14, 2, 2, 2]
    assert result(moody, before) == [14, 2, 2, 2]
    (after,) = submit(moody, 8)
    wait(moody, [after])


def test_an_input_that_somebody_removed_fails_its_job(
    home: Home, moody: Connection, gate: Gate
) -> None:
    _runs, *_ = submit(moody, 5, *range(10, 60))
    big, after = (moody.expect(Submitted, Submit(model="m"), [b"[7, 1, 1, 1]" + b" " * n]).jobs[0]
                  for n in (100_000, 1))  # fmt: skip
    for file in (home.paths.jobs / "spool").iterdir():
        file.unlink()
    gate.open()
    ends = wait(moody, [big, after])
    assert (ends[big].error, ends[after].state) == ("JobsUnavailable", "complete")


def limit(pid: int, size: int) -> None:
    """No file that this process writes becomes longer than this."""
    script = f"import resource; resource.prlimit({pid}, resource.RLIMIT_FSIZE, ({size}, -1))"
    subprocess.run([sys.executable, "-c", script], check=True)
