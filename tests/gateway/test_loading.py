"""What clients of each dialect are told while a model is not loaded, or too much waits for it."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sire.protocol.replies import InstanceInfo, ModelInfo
from sire.spec import ModelSpec, Signature
from sired.gateway.errors import headers_of
from sired.gateway.loading import model_loading
from tests.gateway.dialects import DIALECTS, Hold
from tests.gateway.serving import Answer, serving
from tests.home import Home
from tests.waiting import wait_until


@pytest.fixture
def hold(home: Home, tmp_path: Path) -> Iterator[Hold]:
    hold = Hold(tmp_path)
    with hold.models(home):
        yield hold


def queued(home: Home) -> int:
    count: int = home.json("health")["queued"]
    return count


def test_a_request_is_told_that_its_model_loads_and_the_load_goes_on(
    home: Home, hold: Hold
) -> None:
    with serving(home, "--loading-wait", "200ms") as running:
        for dialect in DIALECTS:
            told = dialect.ask(running)
            assert told.status == 503, dialect
            assert 1 <= int(told.headers["retry-after"]) <= 60
            assert f"{dialect.model} is not loaded after" in dialect.message(told)
            assert {"progress", "eta"} <= told.json().keys()
            assert told.json()["state"] in {"waiting", "loading"}
        hold.let_go()  # nothing waits for the models now

        def loaded() -> bool:
            return {one["model"] for one in home.json("ps") if one["state"] == "ready"} == {
                "chat",
                "rows",
            }

        wait_until(loaded)
        for dialect in DIALECTS:
            assert dialect.ask(running).status in {200, 201}, dialect


def test_a_request_waits_for_its_model_if_that_is_loaded_in_time(home: Home, hold: Hold) -> None:
    with serving(home) as running:
        answers: list[Answer] = []
        asking = threading.Thread(target=lambda: answers.append(DIALECTS[0].ask(running)))
        asking.start()
        wait_until(lambda: queued(home) == 1)
        hold.let_go()
        asking.join()
    assert answers[0].json() == [[1, 2]]


@pytest.mark.settings("[queue]\nper_model = 1\n")
def test_a_full_queue_is_429_in_every_dialect(home: Home, hold: Hold) -> None:
    with serving(home) as running:
        first = [one for one in DIALECTS if one.name in {"plain", "upstream"}]
        waiting = [threading.Thread(target=one.ask, args=(running,)) for one in first]
        for thread in waiting:
            thread.start()
        wait_until(lambda: queued(home) == 2)
        for dialect in DIALECTS:
            refused = dialect.ask(running)
            assert refused.status == 429, dialect
            assert int(refused.headers["retry-after"]) >= 1
            assert dialect.message(refused)
        hold.let_go()
        for thread in waiting:
            thread.join()


@pytest.mark.settings("[defaults]\ntimeout = '500ms'\n")
def test_a_deadline_is_504_in_every_dialect(home: Home, hold: Hold) -> None:
    with serving(home) as running:
        for dialect in DIALECTS:
            late = dialect.ask(running)
            assert late.status == 504, dialect
            assert "did not answer within" in dialect.message(late)


def test_a_client_of_any_dialect_that_leaves_withdraws_its_request(home: Home, hold: Hold) -> None:
    with serving(home) as running:
        for dialect in DIALECTS:
            connection = running.connect()
            body = dialect.body if isinstance(dialect.body, str) else json.dumps(dialect.body)
            connection.request("POST", dialect.path, body, dialect.headers)
            wait_until(lambda: queued(home) == 1)
            connection.close()
            wait_until(lambda: queued(home) == 0)


def test_a_duration_that_is_none_is_reported(home: Home) -> None:
    done = home.sire("serve", "--listen", "127.0.0.1:0", "--loading-wait", "soon", code=2)
    assert "soon" in done.stderr.decode()


def loading(seconds: float, percent: float | None) -> ModelInfo:
    """A model that has been loading for some seconds, where loads took 10 s before."""
    instance = InstanceInfo(
        *(1, "m", "cpu", "loading", 1, 0, seconds, 0.0, None, None, 0, 1, False),
        loading_percent=percent,
    )
    spec, known = ModelSpec(name="m", path="m.py"), Signature()
    return ModelInfo(spec, "loading", (instance,), 0, "", known, None, load_seconds=10.0)


def test_the_expected_time_is_what_loads_took_less_what_has_passed() -> None:
    error = model_loading(loading(4.0, 42.0), 2.0)
    assert (error.details["progress"], error.details["eta"]) == (0.42, 6.0)
    assert headers_of(error)["retry-after"] == "6"


def test_no_time_is_told_once_a_load_takes_longer_than_any_before() -> None:
    error = model_loading(loading(11.0, None), 2.0)
    assert (error.details["progress"], error.details["eta"]) == (None, None)
    assert headers_of(error)["retry-after"] == "1"
