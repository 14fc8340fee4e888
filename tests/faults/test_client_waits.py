"""No call of a client waits for a daemon that died or is stopped: it is told, or asks the next."""

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import zmq

from sire import ModelManager
from sire.client import heartbeat
from sire.client.link import Answer, Link
from sire.client.pipeline.opening import open_pipeline
from sire.errors import DaemonUnavailable, DeadlineExceeded, InvalidInput, SireError
from sire.protocol.framing import LARGEST_HEADER
from sire.protocol.jobs import JobList, ListJobs, Submitted
from sire.protocol.replies import Done, ModelList
from sire.protocol.requests import Health, ListModels, Predict, WhyEnded
from tests.daemon.asking import ask_until_direct
from tests.faults.conftest import House, new_house, stopped
from tests.waiting import wait_until

TIMEOUT = 2.0
# A busy machine may be late, but a call that waits without a limit takes longer than this.
LATE = 90.0
ASKED = {"x": 1}


There = tuple[House, ModelManager]


@pytest.fixture(scope="module")
def there() -> Iterator[There]:
    """A daemon with a loaded model, and a client that it has just answered."""
    house = new_house()
    house.register_faulty()
    house.predict()
    with ModelManager(home=house.path) as manager:
        yield house, manager
    house.end()


def kill(house: House) -> None:
    daemon = psutil.Process(house.pid())
    daemon.kill()
    # The sockets close with the process, which remains a zombie if it is this one's child.
    wait_until(lambda: not daemon.is_running() or daemon.status() == psutil.STATUS_ZOMBIE)


def lease(manager: ModelManager) -> Any:
    with manager.acquire("m", timeout=TIMEOUT) as instance:
        return instance.predict(ASKED, timeout=TIMEOUT)


WAYS = {
    "predict": lambda manager: manager.predict("m", ASKED, timeout=TIMEOUT),
    "large": lambda manager: manager.predict("m", np.zeros(1 << 20), timeout=TIMEOUT),
    "stream": lambda manager: list(manager.stream("m", ASKED, timeout=TIMEOUT)),
    "many": lambda manager: list(manager.predict_many("m", [ASKED] * 3, timeout=TIMEOUT)),
    "future": lambda manager: manager.submit_async("m", ASKED, timeout=TIMEOUT).result(),
    "lease": lease,
}
# These state no timeout, so that heartbeats tell.
READS = {
    "list": lambda manager: manager.list_models(),
    "stats": lambda manager: manager.get_model_stats("m"),
    "submit": lambda manager: manager.submit("m", ASKED),
    "job": lambda manager: manager.wait_job("unknown"),
}


@pytest.mark.parametrize("way", [*WAYS, *READS])
def test_a_client_whose_daemon_died_a_moment_ago_asks_the_next_or_is_told(
    there: There, way: str
) -> None:
    house, manager = there
    manager.list_models()
    kill(house)
    began = time.monotonic()
    with contextlib.suppress(SireError):
        (WAYS | READS)[way](manager)
    assert time.monotonic() - began < LATE
    assert [info.model.name for info in manager.list_models()] == ["m"]
    assert manager.predict("m", ASKED, timeout=60) == ASKED


@pytest.mark.parametrize("count", [1, 2])
def test_a_submission_whose_reply_was_lost_is_repeated_and_makes_no_second_job(
    there: There, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    house, _ = there
    before = all_jobs(house)
    lost: list[Submitted] = []

    def take(link: Link) -> Answer:
        """The daemon dies after it has committed, and before its reply arrives."""
        reply, frames = receive(link)
        if isinstance(reply, Submitted) and len(lost) < count:
            lost.append(reply)
            kill(house)
            raise zmq.Again
        return reply, frames

    receive = Link.take
    monkeypatch.setattr(Link, "take", take)
    with ModelManager(home=house.path) as manager:
        if count == 1:
            job = manager.submit("m", ASKED)
            assert lost == [Submitted(id=lost[0].id, jobs=(job,))]
        else:  # the next daemon died, too
            with pytest.raises(DaemonUnavailable, match="went away"):
                manager.submit("m", ASKED)
            job = lost[0].jobs[0]
            assert lost[1].jobs == (job,)
        assert manager.wait_job(job, timeout=LATE).state == "complete"
        assert manager.job_result(job) == ASKED
    assert all_jobs(house) - before == {job}


def test_a_prediction_is_repeated_by_the_next_daemon_only_if_it_went_directly_to_a_worker(
    there: There, tmp_path: Path
) -> None:
    """In both cases the model may have run; the pages for users say which is repeated."""
    house, _ = there
    waiting = json.dumps({"do": "wait", "file": f"{tmp_path}/there"}).encode()
    with house.connect() as connection, ThreadPoolExecutor(1) as pool:
        for ask in (connection.predict, connection.ask):
            # A prediction that is sent to a daemon which is just dying would not be repeated.
            connection.ask(ListModels())
            if ask == connection.predict:
                usual = partial(ask, Predict(model="m", timeout=60.0), [b'{"x": 1}'])
                ask_until_direct(connection, "m", usual)
            asked = pool.submit(ask, Predict(model="m", timeout=60.0), [waiting])
            wait_until(lambda: any(one.state == "busy" for one in house.instances()))
            kill(house)
            if ask == connection.predict:
                (tmp_path / "there").touch()
                assert bytes(asked.result(60)[1][0]) == b"null"
                (tmp_path / "there").unlink()
            else:
                with pytest.raises(DaemonUnavailable, match="went away"):
                    asked.result(60)


def test_the_next_daemon_is_asked_why_a_direct_connection_ended(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not know the connection, and so the prediction is repeated."""
    house, _ = there
    lost: list[Done] = []

    def take(link: Link) -> Answer:
        reply, frames = receive(link)
        if isinstance(reply, Done) and not lost:
            lost.append(reply)
            kill(house)
            raise zmq.Again
        return reply, frames

    receive = Link.take
    monkeypatch.setattr(Link, "take", take)
    with house.connect() as connection:
        reply, _ = connection.ask(WhyEnded(connection=1))
    assert isinstance(reply, Done)
    assert lost


@pytest.mark.parametrize("way", WAYS)
def test_a_stopped_daemon_is_reported_within_the_timeout(there: There, way: str) -> None:
    house, _ = there
    with ModelManager(home=house.path) as manager:
        manager.list_models()
        with stopped(house):
            began = time.monotonic()
            with pytest.raises(DaemonUnavailable, match="is stopped by a signal"):
                WAYS[way](manager)
            assert time.monotonic() - began < LATE
        assert manager.predict("m", ASKED, timeout=60) == ASKED


LEAVES = """
import sys
import numpy as np
from sire import ModelManager
from sire.errors import DaemonUnavailable

with ModelManager(home=sys.argv[1]) as manager:
    try:
        manager.predict("m", np.zeros(1 << 20), timeout=0.5)
    except DaemonUnavailable:
        sys.exit(7)
"""


def test_a_program_that_leaves_a_large_input_with_a_stopped_daemon_ends_as_it_wants_to(
    there: There,
) -> None:
    house, _ = there
    with stopped(house):
        command = [sys.executable, "-c", LEAVES, str(house.path)]
        done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (7, b"")


@pytest.mark.parametrize("way", READS)
def test_a_stopped_daemon_is_reported_to_calls_without_a_timeout(
    there: There, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "FIRST_AFTER_SECONDS", 0.1)
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 0.5)
    house, manager = there
    with stopped(house), pytest.raises(DaemonUnavailable, match="kill -CONT"):
        READS[way](manager)


def test_a_daemon_that_continues_in_time_answers_what_it_was_asked(there: There) -> None:
    house, manager = there
    with stopped(house):
        future = manager.submit_async("m", ASKED, timeout=60)
        with pytest.raises(DaemonUnavailable):
            manager.predict("m", ASKED, timeout=1.5)
    assert future.result(60) == ASKED


def test_a_slow_model_is_not_taken_for_a_daemon_that_does_not_respond(
    there: There, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "FIRST_AFTER_SECONDS", 0.1)
    _, manager = there
    assert manager.predict("m", {"do": "sleep", "seconds": 1}) is None
    assert list(manager.predict_many("m", [{"do": "sleep", "seconds": 1}])) == [None]
    with pytest.raises(DeadlineExceeded):
        manager.predict("m", {"do": "sleep", "seconds": 600}, timeout=0.5)


def test_a_full_backlog_is_waited_for_no_longer_than_allowed(there: There) -> None:
    house, _ = there
    with house.connect() as connection, stopped(house):
        link = connection.open_link(backlog=1)
        try:
            with pytest.raises(DaemonUnavailable, match="stopped"):
                fill(link)
        finally:
            link.close()


def test_a_message_on_a_lost_connection_is_reported_as_not_sent(there: There) -> None:
    house, _ = there
    with house.connect() as connection:
        link: Link = connection.open_link()
        pipeline = open_pipeline(connection)
        kill(house)
        wait_until(link.lost)
        assert link.send(Health(), seconds=0.0) is False
        number = pipeline.send(request_of(ASKED))
        assert isinstance(wait_until(lambda: outcome(pipeline, number)), DaemonUnavailable)
        pipeline.close()
        link.close()
        assert connection.expect(ModelList, ListModels()).models[0].model.name == "m"


def test_a_header_over_the_limit_is_refused_before_it_is_sent(there: There) -> None:
    _, manager = there
    many = [np.ones(3, np.float32)] * 40_000
    manager.predict("m", ASKED, timeout=60)
    for ask in (
        lambda: manager.predict("m", many),
        lambda: manager.submit_async("m", many).result(LATE),
        lambda: manager.submit("m", ASKED, metadata={"note": "x" * LARGEST_HEADER}),
        lambda: list(manager.predict_many("m", [many])),
    ):
        with pytest.raises(InvalidInput, match=f"the limit is {LARGEST_HEADER}"):
            ask()
    assert manager.predict("m", ASKED) == ASKED


def all_jobs(house: House) -> set[str]:
    with house.connect() as connection:
        return {one.id for one in connection.expect(JobList, ListJobs()).jobs}


def fill(link: Any) -> None:
    while link.send(Predict(model="m"), [bytes(1 << 20)], seconds=0.2):
        pass


def request_of(data: Any) -> Any:
    from sire.client.calls.many import pack_request, predict_request

    return pack_request(predict_request("m", None, None, None), data)


def outcome(pipeline: Any, number: int) -> Any:
    pipeline.pump(0.05)
    return pipeline.pop(number)
