"""Slots: clients that talk to the program of a model themselves, when the scheduler lets them."""

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from sire import ModelManager
from sire.client.connection import Connection
from sire.errors import DeadlineExceeded, InvalidInput, SireError
from sire.protocol.replies import SlotTaken
from sire.protocol.requests import FreeSlot, Predict, TakeSlot, Unload
from tests.contract.runtime_cases import PROGRAM
from tests.home import Home
from tests.waiting import wait_until

Take = Callable[..., SlotTaken]


@pytest.fixture
def model(new_name: str) -> str:
    return new_name


@pytest.fixture
def connection(home: Home, model: str) -> Iterator[Connection]:
    home.register(
        model, "--cmd", PROGRAM + " {port}", "--health", "/health", "--arg", "endpoint=/do"
    )
    with Connection(home.paths) as connection:
        yield connection


@pytest.fixture
def take(connection: Connection, model: str) -> Take:
    def _take(timeout: float = 60.0) -> SlotTaken:
        return connection.expect(SlotTaken, TakeSlot(model=model, timeout=timeout))

    return _take


def post(slot: SlotTaken, body: dict[str, Any]) -> Any:
    program = http.client.HTTPConnection(slot.url.removeprefix("http://"), timeout=60)
    with contextlib.closing(program):
        program.request("POST", "/do", json.dumps(body))
        return json.load(program.getresponse())


def state(home: Home) -> str:
    return str(home.json("ps")[0]["state"])


def test_a_slot_loads_the_model_and_names_its_program(
    home: Home, connection: Connection, take: Take, model: str
) -> None:
    slot = take()
    program = post(slot, {"hello": "world"})["pid"]
    (instance,) = home.json("ps")
    assert psutil.Process(instance["pid"]) in psutil.Process(program).parents()
    assert instance["state"] == "busy"
    connection.ask(FreeSlot(slot=slot.slot, bytes_in=10, bytes_out=20))
    assert state(home) == "ready"
    with ModelManager(home=home.path) as manager:
        stats = manager.get_model_stats(model)
    assert (stats["inference_count"], stats["bytes_in"], stats["bytes_out"]) == (1, 10, 20)


def test_who_takes_no_slot_in_time_is_told_and_one_that_is_taken_lasts(
    home: Home, connection: Connection, take: Take, model: str
) -> None:
    slot = take(timeout=20)
    with pytest.raises(DeadlineExceeded):
        take(timeout=0.2)
    with pytest.raises(DeadlineExceeded), Connection(home.paths) as other:
        other.ask(Predict(model=model, timeout=0.2), [b"{}"])
    assert post(slot, {})["argv"]
    connection.ask(FreeSlot(slot=slot.slot))
    connection.ask(FreeSlot(slot=take().slot))


def test_a_prediction_runs_as_soon_as_the_slot_is_free(
    home: Home, connection: Connection, take: Take, model: str
) -> None:
    slot = take()
    with ThreadPoolExecutor(1) as pool, Connection(home.paths) as other:
        asked = pool.submit(other.ask, Predict(model=model, timeout=60.0), [b"{}"])
        wait_until(lambda: home.json("health")["queued"] == 1)
        connection.ask(FreeSlot(slot=slot.slot))
        assert json.loads(bytes(asked.result(60)[1][0]))["argv"]


def test_a_slot_ends_with_its_clients_connection(home: Home, take: Take, model: str) -> None:
    with Connection(home.paths) as other:
        other.expect(SlotTaken, TakeSlot(model=model, timeout=60.0))
        assert state(home) == "busy"
    wait_until(lambda: state(home) == "ready")
    take()


def test_a_slot_of_another_client_is_not_freed(
    home: Home, connection: Connection, take: Take
) -> None:
    slot = take()
    with Connection(home.paths) as other:
        other.ask(FreeSlot(slot=slot.slot))
    assert state(home) == "busy"
    connection.ask(FreeSlot(slot=slot.slot))
    connection.ask(FreeSlot(slot=slot.slot))  # a second time has no effect
    assert state(home) == "ready"


def test_an_unload_waits_for_the_slot(
    home: Home, connection: Connection, take: Take, model: str
) -> None:
    slot = take()
    with ThreadPoolExecutor(1) as pool, Connection(home.paths) as other:
        unloading = pool.submit(other.ask, Unload(name=model))
        assert post(slot, {})["argv"]
        connection.ask(FreeSlot(slot=slot.slot))
        unloading.result(60)
    assert home.json("ps") == []


def test_a_program_that_ends_takes_its_slots_with_it(
    home: Home, connection: Connection, take: Take
) -> None:
    first = take()
    with pytest.raises((OSError, http.client.HTTPException)):
        post(first, {"do": "die"})
    wait_until(lambda: home.json("ps") == [])
    connection.ask(FreeSlot(slot=first.slot))
    second = take()
    assert second.slot != first.slot
    assert post(second, {})["argv"]


def test_only_programs_have_slots(home: Home, register: Callable[..., Any]) -> None:
    register("twice", 2)
    with Connection(home.paths) as connection:
        with pytest.raises(InvalidInput, match="which no program serves"):
            connection.ask(TakeSlot(model="twice"))
        with pytest.raises(SireError, match="No model 'other'"):
            connection.ask(TakeSlot(model="other"))
