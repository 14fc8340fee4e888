"""Many predictions at once from Python, through a real daemon and its workers."""

import concurrent.futures
import itertools
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from sire import ModelManager
from sire.errors import (
    DaemonUnavailable,
    DeadlineExceeded,
    InferenceError,
    InvalidConfiguration,
    InvalidInput,
    ModelNotFound,
    SireError,
    WorkerCrashed,
)
from tests.conftest import Gate
from tests.home import Home
from tests.waiting import wait_until

RAISES, DIES, HANGS, WAITS, SLEEPS = 1.0, 2.0, 3.0, 5.0, -1.0


def row(number: float) -> NDArray[Any]:
    return np.full((1, 4), number, np.float32)


@pytest.fixture
def manager(home: Home, zoo: Path) -> Iterator[ModelManager]:
    """A manager whose model "m" doubles, and does what its inputs say (see ``Moody``)."""
    with ModelManager(home=home.path) as manager:
        manager.register_model(
            "m",
            zoo / "x2.safetensors",
            "python",
            model_class=f"{zoo}/plain.py:Moody",
            batch_size=1,
        )
        yield manager


def first(answers: Any) -> list[float]:
    return [float(answer[0, 0]) for answer in answers]


def answered(manager: ModelManager) -> int:
    count: int = manager.get_model_stats("m")["inference_count"]
    return count


def test_answers_come_in_the_order_of_the_inputs(manager: ModelManager) -> None:
    inputs = (row(number) for number in range(10, 510))
    assert first(manager.predict_many("m", inputs)) == [2.0 * n for n in range(10, 510)]
    assert list(manager.predict_many("m", [])) == []


def test_an_answer_that_is_late_keeps_its_place(
    manager: ModelManager, zoo: Path, gate: Gate
) -> None:
    manager.register_model(
        "m",
        zoo / "x2.safetensors",
        "python",
        model_class=f"{zoo}/plain.py:Moody",
        instances=2,
        replace=True,
    )
    manager.load_model("m")
    before = answered(manager)

    def inputs() -> Iterator[NDArray[Any]]:
        yield row(WAITS)
        yield from map(row, range(10, 40))
        # The other instance answers all but those that the held one has at hand already.
        wait_until(lambda: answered(manager) >= before + 20)
        gate.open()

    expected = [2 * WAITS, *(2.0 * number for number in range(10, 40))]
    assert first(manager.predict_many("m", inputs())) == expected


def test_inputs_are_taken_as_there_is_room_and_no_further(manager: ModelManager) -> None:
    taken = itertools.count()
    endless = (row(10 + next(taken) % 7) for _ in itertools.repeat(None))
    answers = manager.predict_many("m", endless)
    for _ in range(100):
        next(answers)
    assert next(taken) <= 100 + 32
    answers.close()
    assert manager.predict("m", row(10))[0, 0] == 20


def test_big_inputs_are_bounded_by_their_bytes(manager: ModelManager) -> None:
    taken = itertools.count()

    def big() -> Iterator[NDArray[Any]]:
        for _ in range(8):
            next(taken)
            yield np.full((1 << 20, 4), 10, np.float32)  # 16 MiB

    answers = manager.predict_many("m", big())
    assert next(answers).shape == (1 << 20, 4)
    assert next(taken) <= 1 + 4
    answers.close()


def test_an_error_is_raised_in_its_turn_and_ends_the_iteration(manager: ModelManager) -> None:
    inputs = [row(10), row(11), row(RAISES), row(12)]
    answers = manager.predict_many("m", inputs)
    assert first(itertools.islice(answers, 2)) == [20, 22]
    with pytest.raises(InferenceError, match="no ones"):
        next(answers)
    assert list(answers) == []


@pytest.mark.parametrize("kind", [InferenceError, WorkerCrashed, InvalidInput])
def test_an_error_is_returned_in_its_place_where_that_is_asked_for(
    manager: ModelManager, kind: type[SireError]
) -> None:
    bad = {InferenceError: row(RAISES), WorkerCrashed: row(DIES), InvalidInput: object()}[kind]
    inputs = [row(10), bad, *map(row, range(11, 60))]
    one, error, *rest = manager.predict_many("m", inputs, on_error="return")
    assert isinstance(error, kind)
    assert first([one, *rest]) == [20.0, *(2.0 * n for n in range(11, 60))]


def test_what_the_iterable_raises_comes_after_the_answers_before_it(manager: ModelManager) -> None:
    def inputs() -> Iterator[NDArray[Any]]:
        yield row(10)
        yield row(11)
        raise KeyError("lost")

    answers = manager.predict_many("m", inputs())
    assert first(itertools.islice(answers, 2)) == [20, 22]
    with pytest.raises(KeyError, match="lost"):
        next(answers)


def test_a_wrong_argument_is_told_before_anything_is_asked(manager: ModelManager) -> None:
    with pytest.raises(InvalidConfiguration, match="on_error"):
        manager.predict_many("m", [], on_error=cast("Any", "ignore"))
    with pytest.raises(ModelNotFound):
        next(manager.predict_many("nobody", [row(10)]))
    with pytest.raises(ModelNotFound):
        manager.submit_async("nobody", row(10)).result()


@pytest.mark.settings("[queue]\nper_model = 2\n")
def test_a_queue_that_is_too_short_fails_no_input(home: Home, zoo: Path) -> None:
    with ModelManager(home=home.path) as manager:
        manager.register_model(
            "m", zoo / "x2.safetensors", "python", model_class=f"{zoo}/plain.py:Moody"
        )
        inputs = [row(number) for number in range(10, 210)]
        expected = [2.0 * number for number in range(10, 210)]
        assert first(manager.predict_many("m", inputs)) == expected
        futures = [manager.submit_async("m", data) for data in inputs]
        assert first(future.result() for future in futures) == expected
        assert manager.get_model_stats("m")["errors"]["QueueFull"] > 0


@pytest.mark.settings("[queue]\nper_model = 2\n")
def test_several_who_share_a_short_queue_all_get_their_turns(home: Home, zoo: Path) -> None:
    with ModelManager(home=home.path) as manager:
        manager.register_model(
            "m", zoo / "x2.safetensors", "python", model_class=f"{zoo}/plain.py:Moody"
        )

        def many(number: int) -> list[float]:
            return first(manager.predict_many("m", [row(number)] * 100))

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            assert list(pool.map(many, (10, 11, 12))) == [[n] * 100 for n in (20.0, 22.0, 24.0)]


def test_the_timeout_is_for_each_input_and_not_for_those_before_it(manager: ModelManager) -> None:
    manager.load_model("m")
    slow = [np.array([[SLEEPS, 1, 1, 1]], np.float32)] * 5  # one second each
    assert first(manager.predict_many("m", slow, timeout=4.5)) == [2 * SLEEPS] * 5


def test_an_input_that_hangs_takes_its_own_time_and_not_that_of_those_before_it(
    manager: ModelManager,
) -> None:
    inputs = [*[row(10)] * 40, row(HANGS), row(11)]
    manager.load_model("m")
    answers = list(manager.predict_many("m", inputs, timeout=4.0, on_error="return"))
    assert first(answers[:40]) == [20.0] * 40
    assert isinstance(answers[40], DeadlineExceeded)


@pytest.mark.own_daemon
def test_a_daemon_that_is_killed_fails_everything_under_way_at_once(
    manager: ModelManager, home: Home, zoo: Path
) -> None:
    inputs = [*[row(10)] * 5, *[row(HANGS)] * 20]
    answers = manager.predict_many("m", inputs, on_error="return")
    assert first(itertools.islice(answers, 5)) == [20.0] * 5
    weights = zoo / "x2.safetensors"
    manager.register_model("n", weights, "python", model_class=f"{zoo}/plain.py:Moody")
    future = manager.submit_async("n", row(HANGS))
    wait_until(lambda: ("n", "busy") in [(one["model"], one["state"]) for one in home.json("ps")])
    os.kill(home.pid(), signal.SIGKILL)
    # Without a deadline of their own they would be waited for without end.
    with pytest.raises(DaemonUnavailable, match="went away"):
        next(answers)
    with pytest.raises(DaemonUnavailable):
        future.result(timeout=90)
    # The next one starts another daemon.
    assert first([manager.submit_async("m", row(10)).result(timeout=60)]) == [20.0]


def test_futures_are_answered_in_any_order_to_any_thread(manager: ModelManager) -> None:
    def several(number: int) -> list[float]:
        futures = [manager.submit_async("m", row(number + n)) for n in range(50)]
        return first(future.result() for future in reversed(futures))

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for number, answers in zip(
            range(10, 410, 100), pool.map(several, range(10, 410, 100)), strict=True
        ):
            assert answers == [2.0 * (number + n) for n in reversed(range(50))]


def test_a_future_that_is_cancelled_is_withdrawn_from_the_daemon(
    manager: ModelManager, home: Home, gate: Gate
) -> None:
    manager.predict("m", row(10))
    before = answered(manager)
    blocking = manager.submit_async("m", row(WAITS))
    futures = [manager.submit_async("m", row(11)) for _ in range(100)]
    wait_until(lambda: home.json("ps")[0]["queued"] > 0)
    assert all(future.cancel() for future in futures)
    done, _ = concurrent.futures.wait(futures, timeout=90)
    assert len(done) == 100
    # What a worker has at hand already is all that is left beside what it is at.
    wait_until(lambda: home.json("ps")[0]["queued"] <= 2)
    gate.open()
    assert blocking.result(timeout=90)[0, 0] == 10
    assert answered(manager) == before + 1


def test_closing_the_manager_cancels_its_futures(home: Home, zoo: Path) -> None:
    manager, others = ModelManager(home=home.path), set(threading.enumerate())
    manager.register_model(
        "m", zoo / "x2.safetensors", "python", model_class=f"{zoo}/plain.py:Moody"
    )
    futures = [manager.submit_async("m", row(HANGS)) for _ in range(40)]
    (own,) = set(threading.enumerate()) - others
    manager.close()
    assert all(future.cancelled() for future in futures)
    assert not own.is_alive()
    with pytest.raises(DaemonUnavailable, match="closed"):
        manager.submit_async("m", row(10))


def test_a_callback_may_submit_more_and_close_the_manager(manager: ModelManager) -> None:
    seen = threading.Event()

    def again(future: Future[Any]) -> None:
        manager.submit_async("m", row(future.result()[0, 0])).add_done_callback(end)

    def end(future: Future[Any]) -> None:
        if not future.cancelled() and future.result()[0, 0] == 40:
            manager.close()
            seen.set()

    manager.submit_async("m", row(10)).add_done_callback(again)
    assert seen.wait(90)


def test_a_script_that_closes_nothing_ends(home: Home, manager: ModelManager) -> None:
    manager.load_model("m")
    script = (
        "import sys, numpy as np; from sire import ModelManager\n"
        "m = ModelManager(home=sys.argv[1]); x = np.full((1, 4), 10, np.float32)\n"
        "print(m.submit_async('m', x).result()[0, 0], next(m.predict_many('m', [x, x]))[0, 0])\n"
        "m.submit_async('m', x * 0.3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, home.path], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr, done.returncode) == ("20.0 20.0\n", "", 0)
