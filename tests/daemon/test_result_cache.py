"""What a cached model answered once it answers again, and needs no worker for it."""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from sire.client.connection import Connection
from sire.errors import InferenceError
from sire.protocol.counts import ModelStats
from sire.protocol.replies import InstanceInfo, Prediction, StatsReport
from sire.protocol.requests import Predict, Reload, Stats, Unload
from tests.conftest import Gate
from tests.daemon.asking import instances, under_way
from tests.home import Home
from tests.waiting import wait_until


@pytest.fixture
def model(home: Home, register: Callable[..., Any]) -> Iterator[Connection]:
    register("m", 2, "Moody", "--cache")
    with home.connect() as connection:
        yield connection


def predict(
    connection: Connection, first: int, accept: str = "application/json"
) -> tuple[bytes, bool]:
    """Ask once; returns the answer and whether it came from memory."""
    body = json.dumps([[first, 1, 1, 1]]).encode()
    reply, frames = connection.ask(Predict(model="m", accept=accept, timeout=30), [body])
    assert isinstance(reply, Prediction)
    return bytes(frames[0]), reply.cached


def counted(connection: Connection) -> ModelStats:
    return connection.expect(StatsReport, Stats(name="m")).models[0]


@pytest.mark.own_daemon
def test_a_repeated_input_is_answered_from_memory_with_the_model_unloaded(
    model: Connection, home: Home
) -> None:
    first, cached = predict(model, 7)
    assert (json.loads(first), cached) == ([[14, 2, 2, 2]], False)
    model.ask(Unload(name="m"))
    assert predict(model, 7) == (first, True)
    assert instances(model) == ()
    stats = counted(model)
    assert (stats.cache_hits, stats.cache_misses, stats.inference_count) == (1, 1, 1)
    assert stats.cache_bytes > 0
    totals = home.json("stats")["totals"]
    assert (totals["cache_hits"], totals["cache_misses"]) == (1, 1)
    assert b"1 of 2" in home.sire("stats", "m").stdout
    assert b"Cached" in home.sire("show", "m").stdout


def test_another_type_of_answer_is_another_question(model: Connection) -> None:
    predict(model, 7)
    assert predict(model, 7, "text/csv") == (b"14.0,2.0,2.0,2.0\n", False)
    assert predict(model, 7, "text/csv") == (b"14.0,2.0,2.0,2.0\n", True)


def test_a_failure_is_not_kept(model: Connection) -> None:
    before = counted(model)
    for _ in range(2):
        with pytest.raises(InferenceError):
            predict(model, 1)
    after = counted(model)
    assert after.cache_hits == before.cache_hits
    assert after.cache_misses == before.cache_misses + 2
    assert after.cache_bytes == 0


def test_a_model_without_the_option_computes_every_time(
    home: Home, register: Callable[..., Any]
) -> None:
    register("m", 2)
    with home.connect() as connection:
        before = counted(connection).cache_misses
        assert [predict(connection, 7)[1] for _ in range(2)] == [False, False]
        assert counted(connection).cache_misses == before


def test_registering_anew_drops_the_answers(
    model: Connection, register: Callable[..., Any]
) -> None:
    predict(model, 7)
    register("m", 3, "Moody", "--cache", "--replace")
    assert predict(model, 7) == (b"[[21.0,3.0,3.0,3.0]]", False)


def test_a_reload_drops_the_answers(home: Home, zoo: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    shutil.copy(zoo / "x2.safetensors", weights)
    home.register("m", weights, "--class", f"{zoo / 'classes.py'}:Scale", "--cache")
    with home.connect() as connection:
        assert predict(connection, 7) == (b"[[14.0,2.0,2.0,2.0]]", False)
        tripled = {"weight": load_file(zoo / "x3.safetensors")["weight"]}
        save_file(tripled, weights)
        home.sire("reload", "m")
        assert predict(connection, 7) == (b"[[21.0,3.0,3.0,3.0]]", False)


def test_what_was_computed_during_a_reload_is_not_kept(
    model: Connection, home: Home, gate: Gate
) -> None:
    predict(model, 0)
    slow = threading.Thread(target=lambda: _ask_alone(home, 5))
    slow.start()
    wait_until(lambda: instances(model)[0].state == "busy")
    with under_way(model, Reload(name="m")) as reloaded:
        gate.open()
        reply = reloaded()
        assert isinstance(reply, InstanceInfo)
        assert reply.state == "ready"
    slow.join(90)
    assert predict(model, 5)[1] is False


def _ask_alone(home: Home, first: int) -> None:
    with home.connect() as connection:
        predict(connection, first)


def test_a_job_is_answered_from_memory_too(model: Connection, home: Home) -> None:
    hits = counted(model).cache_hits
    answer, _ = predict(model, 7)
    model.ask(Unload(name="m"))
    printed = home.sire("submit", "m", "-i", "-", "--from", "json", stdin=b"[[7, 1, 1, 1]]").stdout
    job = printed.decode().strip()
    home.sire("job", "wait", job)
    assert json.loads(home.sire("job", "result", job).stdout) == json.loads(answer)
    assert instances(model) == ()
    assert counted(model).cache_hits == hits + 1


@pytest.mark.own_daemon
def test_a_cache_of_no_size_keeps_nothing(home: Home, register: Callable[..., Any]) -> None:
    home.configure("[cache]\nmemory = 0\n")
    register("m", 2, "Scale", "--cache")
    with home.connect() as connection:
        assert [predict(connection, 7)[1] for _ in range(2)] == [False, False]
