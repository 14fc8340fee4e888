"""Models in an Ollama server, through the whole house."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from sire import ModelManager
from tests.home import Home
from tests.stand_ins.ollama import GIB, StandIn
from tests.waiting import wait_until


@pytest.fixture
def server() -> Iterator[StandIn]:
    server = StandIn()
    yield server
    server.close()


def add(
    home: Home, server: StandIn, name: str = "llama", model: str = "llama3.2", *options: Any
) -> None:
    given = ["--arg", f"model={model}", "--arg", f"host={server.url}"]
    home.register(name, "--runtime", "ollama", *given, *options)


def test_its_size_is_what_the_server_says(home: Home, server: StandIn) -> None:
    add(home, server)
    (model,) = home.json("ls")
    assert (model["model"]["weight_bytes"], model["model"]["format"]) == (2 * GIB, "gguf")


def test_text_goes_in_and_comes_out(home: Home, server: StandIn) -> None:
    server.library["llama3.2:latest"] = 1 << 20
    add(home, server)
    done = home.sire("predict", "llama", "-i", "-", "--from", "text", "--to", "text", stdin=b"hi")
    assert done.stdout == b"you said: hi"
    operation = json.dumps({"prompt": "hi", "options": {"seed": 1}}).encode()
    done = home.sire("predict", "llama", "-i", "-", stdin=operation)
    assert json.loads(done.stdout)["response"] == "you said: hi"
    (instance,) = home.json("ps")
    assert instance["memory_bytes"] >= 3 << 19
    home.sire("unload", "llama")
    assert server.loaded == {}


@pytest.mark.own_daemon
def test_two_that_do_not_fit_take_turns_in_the_server_too(home: Home, server: StandIn) -> None:
    home.configure('[devices.cpu]\nkind = "cpu"\nmemory = "200MiB"\n')
    server.library = {"a:latest": 100 << 20, "b:latest": 100 << 20}
    for name in ("a", "b"):
        add(home, server, name, name)
    for name in ("a", "b", "a"):
        home.sire("predict", name, "-i", "-", stdin=b'{"prompt": "hi"}')
        assert list(server.loaded) == [f"{name}:latest"]


def test_a_missing_server_or_model_is_said_when_it_is_registered(
    home: Home, server: StandIn
) -> None:
    said = home.sire(
        "register",
        "m",
        "--runtime",
        "ollama",
        "--arg",
        "model=m",
        "--arg",
        "host=127.0.0.1:9",
        code=9,
    ).stderr.decode()
    assert "No Ollama server answers at http://127.0.0.1:9" in said
    assert "ollama serve" in said
    given = ["--runtime", "ollama", "--arg", f"host={server.url}"]
    said = home.sire("register", "m", *given, "--arg", "model=gpt", code=3).stderr.decode()
    assert "ollama pull gpt" in said
    # Without a name of its own, the model is the one of the name it is registered under.
    assert b"ollama pull m\n" in home.sire("register", "m", *given, code=3).stderr
    home.sire("register", "llama3.2", *given)


@pytest.mark.own_daemon
def test_a_killed_daemon_leaves_no_model_in_the_server(home: Home, server: StandIn) -> None:
    server.library["llama3.2:latest"] = 1 << 20
    add(home, server)
    home.sire("load", "llama")
    os.kill(home.pid(), signal.SIGKILL)
    wait_until(lambda: not server.loaded)


@pytest.mark.parametrize("bound", [1, 3])
def test_no_more_requests_are_under_way_than_its_concurrency(
    home: Home, server: StandIn, bound: int
) -> None:
    server.library["llama3.2:latest"] = 1 << 20
    server.meet = bound
    add(home, server, "llama", "llama3.2", "--concurrency", bound)
    with ModelManager(home=home.path) as manager:
        answers = list(manager.predict_many("llama", [f"number {n}" for n in range(7)]))
    assert [a["response"] for a in answers] == [f"you said: number {n}" for n in range(7)]
    assert server.most_at_once == bound


@pytest.mark.own_daemon
def test_stopping_the_daemon_has_the_server_unload_it(home: Home, server: StandIn) -> None:
    server.library["llama3.2:latest"] = 1 << 20
    add(home, server)
    home.sire("load", "llama")
    home.sire("daemon", "stop")
    assert server.loaded == {}
