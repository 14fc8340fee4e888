"""A model that ends its process fails that request with the reason, and only that request.

The next request finds another process, and nothing of the old one is left.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sire.errors import DeadlineExceeded, InsufficientMemory, LoadFailed, WorkerCrashed
from tests.faults.conftest import House, predict
from tests.home import Home
from tests.processes import has_ended
from tests.waiting import wait_until


def test_a_segmentation_fault_is_told_with_the_stack_and_the_next_request_is_answered(
    faulty: House,
) -> None:
    first = faulty.predict(do="pid")
    with pytest.raises(WorkerCrashed) as caught:
        faulty.predict(do="segfault")
    assert "SIGSEGV" in caught.value.message
    assert "in segfault" in "".join(caught.value.details["last_lines"])
    assert faulty.predict(do="pid") != first


def test_a_worker_that_stops_itself_is_killed_once_its_time_is_over(faulty: House) -> None:
    stopped = faulty.predict(do="pid")
    with pytest.raises(DeadlineExceeded):
        faulty.predict(do="stop", timeout=0.2)
    wait_until(lambda: has_ended(stopped))
    assert faulty.predict(do="pid") != stopped


def test_an_idle_worker_that_was_stopped_is_killed_when_a_request_waits_too_long(
    faulty: House,
) -> None:
    stopped = faulty.predict(do="pid")
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(DeadlineExceeded):
        faulty.predict(timeout=0.2)
    wait_until(lambda: has_ended(stopped))
    assert faulty.predict(do="pid") != stopped


def test_a_worker_that_was_stopped_is_unloaded_all_the_same(faulty: House) -> None:
    stopped = faulty.predict(do="pid")
    os.kill(stopped, signal.SIGSTOP)
    faulty.sire("unload", "m")
    assert has_ended(stopped)


def test_running_out_of_memory_while_loading_is_tried_twice_and_told_with_the_figures(
    faulty: House,
) -> None:
    faulty.register_faulty(args={"at_load": "no_memory"})
    with pytest.raises(InsufficientMemory, match="MemoryError"):
        faulty.predict()
    wait_until(lambda: not faulty.instances())


def test_running_out_of_memory_over_a_request_is_told_and_ends_nothing_for_good(
    faulty: House,
) -> None:
    with pytest.raises(InsufficientMemory):
        faulty.predict(do="no_memory")
    assert faulty.predict(x=1) == {"x": 1}


def test_a_load_that_stands_still_is_ended(faulty: House) -> None:
    faulty.register_faulty(args={"at_load": "stop"})
    with pytest.raises(LoadFailed, match="no progress for 5 s"):
        faulty.predict()
    wait_until(lambda: not faulty.instances())


def test_a_process_that_ends_in_the_middle_of_its_answer_leaves_a_whole_one_or_none(
    faulty: House,
) -> None:
    for step in range(12):
        try:
            answer = faulty.predict(do="leave_soon", after=step * 0.004, bytes=3_000_000)
        except WorkerCrashed as crash:
            assert "exit code 7" in crash.message
        else:
            assert answer == {"text": "x" * 3_000_000}
        faulty.register_faulty()


@pytest.mark.parametrize(
    "child", ["start_child", "start_session", "start_demon", "fork_and_forget"]
)
@pytest.mark.parametrize("end", ["unload", "kill"])
def test_what_a_model_started_ends_with_its_worker_wherever_it_hid(
    faulty: House, child: str, end: str
) -> None:
    worker, hidden = faulty.predict(do="pid"), faulty.predict(do=child)
    assert not has_ended(hidden)
    if end == "unload":
        faulty.sire("unload", "m")
    else:
        os.kill(worker, signal.SIGKILL)
    wait_until(lambda: has_ended(worker) and has_ended(hidden))
    faulty.register_faulty()


@pytest.mark.parametrize("stream", ["stderr", "stdout"])
def test_a_model_that_prints_without_end_fills_no_disk_and_holds_up_nobody(
    faulty: House, stream: str
) -> None:
    log = faulty.paths.model_log("m")
    before = faulty.daemon().memory_info().rss
    printed = 1 << 30
    answer = []
    with faulty.connect() as connection:
        printing = threading.Thread(
            target=lambda: answer.append(
                predict(connection, do="shout", bytes=printed, stream=stream)
            )
        )
        printing.start()
        faulty.register_faulty("other")
        while printing.is_alive():
            assert faulty.predict("other", x=1) == {"x": 1}
        printing.join()
    assert answer == [printed]
    wait_until(lambda: size_of(log) < 20 << 20)
    wait_until(lambda: sum(map(size_of, log.parent.iterdir())) < 60 << 20)
    assert faulty.daemon().memory_info().rss - before < 50 << 20


def size_of(log: Path) -> int:
    """Its bytes; 0 of one that has just been put aside."""
    with contextlib.suppress(FileNotFoundError):
        return log.stat().st_size
    return 0


def loads(house: House) -> int:
    """How often the model's class has been made, by what the daemon has logged."""
    return house.paths.daemon_log.read_text().count("loading m on")


def _setting(home: Home, key: str) -> Any:
    found = {one["key"]: one["value"] for one in home.json("config")["settings"]}
    return found[key]


@pytest.fixture
def patient(shared: House) -> Iterator[House]:
    """The shared daemon, which leaves failing models alone for a second and longer."""
    shared.configure('[daemon]\nretry_after = "1s"\nretry_most = "2s"\n')
    os.kill(shared.pid(), signal.SIGHUP)
    wait_until(lambda: _setting(shared, "daemon.retry_after") == "1s")
    yield shared
    shared.register_faulty()


def test_why_a_load_failed_is_remembered_for_a_while_that_doubles(patient: House) -> None:
    patient.register_faulty(args={"at_load": "fail"})
    asked = time.monotonic()
    with pytest.raises(LoadFailed):
        patient.predict()
    for left_alone in (1.0, 2.0):
        # Only a lower bound is asserted, from before the load that failed: a busy machine makes
        # everything later, and nothing sooner.
        before, began = loads(patient), asked
        while loads(patient) == before:
            asked = time.monotonic()
            with pytest.raises(LoadFailed, match="cannot be loaded"):
                patient.predict()
        assert time.monotonic() - began > 0.8 * left_alone
    shown = patient.sire("show", "m").stdout.decode()
    assert "failed to load 3 times" in shown


def test_a_load_by_hand_is_tried_at_once_and_forgets_what_failed(patient: House) -> None:
    patient.register_faulty(args={"at_load": "fail"})
    with pytest.raises(LoadFailed):
        patient.predict()
    before = loads(patient)
    with pytest.raises(LoadFailed):
        patient.load()
    assert loads(patient) == before + 1
    patient.register_faulty()
    assert patient.predict(x=1) == {"x": 1}
    assert patient.json("show", "m")["failed_loads"] == 0


def test_a_model_that_keeps_crashing_is_loaded_less_and_less_often(patient: House) -> None:
    patient.register_faulty()
    for crashes in range(1, 6):
        asked = (
            time.monotonic()
        )  # before the crash, so that what is measured is no less than it was
        with pytest.raises(WorkerCrashed):
            patient.predict(do="exit")
        left_alone = patient.json("show", "m")["retry_seconds"] is not None
        assert not left_alone or crashes > 2  # two may be chance
    assert "crashed 5 times without an answer" in patient.sire("show", "m").stdout.decode()
    assert patient.predict(x=1) == {"x": 1}  # it has waited for its turn
    assert time.monotonic() - asked > 1.5
    assert patient.json("show", "m")["crashes"] == 0
