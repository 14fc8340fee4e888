"""Ollama's API, as its unmodified client speaks it, against three kinds of models."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import ollama
import pytest

from tests.contract import tiny_models
from tests.gateway import texts
from tests.gateway.serving import Serving, serving
from tests.gateway.test_programs import PROGRAM
from tests.home import Home
from tests.stand_ins.ollama import StandIn
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("transformers")

NEW = 6
OPTIONS: Any = {"num_predict": NEW, "temperature": 0, "num_ctx": 2048}


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    server = StandIn()
    yield server
    server.close()


@pytest.fixture(scope="module")
def server(gateway_home: Home, text_models: Path, stand_in: StandIn) -> Iterator[Serving]:
    texts.register(gateway_home, text_models)
    gateway_home.register("program", "--cmd", f"{sys.executable} {PROGRAM} {{port}} {text_models}")
    host = ("--arg", f"host={stand_in.url}")
    gateway_home.register("llama3.2", "--runtime", "ollama", *host)
    with serving(gateway_home) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Serving) -> ollama.Client:
    return ollama.Client(host=server.url)


def chat(client: ollama.Client, model: str, text: str, **how: Any) -> Any:
    messages = [{"role": "user", "content": text}]
    return client.chat(model=model, messages=messages, options=OPTIONS, **how)


def generate(client: ollama.Client, model: str, prompt: str, **how: Any) -> Any:
    return client.generate(model, prompt, options=OPTIONS, **how)


@pytest.mark.parametrize("name", ["writer", "writer:latest"])
def test_a_chat_is_answered_as_transformers_does(
    client: ollama.Client, text_models: Path, name: str
) -> None:
    text, length = texts.own_answer(text_models, "some text ", special=False, most=NEW)
    answer = chat(client, name, "some text")
    assert answer.message.content == text
    assert (answer.done, answer.done_reason, answer.model) == (True, "length", name)
    assert (answer.prompt_eval_count, answer.eval_count) == (length, NEW)
    parts = list(chat(client, name, "some text", stream=True))
    assert len(parts) > 2
    assert "".join(part.message.content for part in parts) == text
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == NEW


def test_a_prompt_is_continued_as_transformers_does(
    client: ollama.Client, text_models: Path
) -> None:
    text, _ = texts.own_answer(text_models, "some text", special=True, most=NEW)
    assert generate(client, "writer", "some text").response == text
    parts = generate(client, "writer", "some text", stream=True)
    assert "".join(part.response for part in parts) == text


@pytest.mark.parametrize("stream", [False, True])
def test_a_program_that_speaks_openais_api_is_translated(
    client: ollama.Client, stream: bool
) -> None:
    answer = chat(client, "program", "one two three", stream=stream)
    parts = list(answer) if stream else [answer]
    assert "".join(part.message.content for part in parts).split() == ["one", "two", "three"]
    assert parts[-1].done_reason == "stop"
    prompt = generate(client, "program", "one two", system="be brief", stream=stream)
    parts = list(prompt) if stream else [prompt]
    assert "".join(part.response for part in parts).split() == ["one", "two"]


@pytest.mark.parametrize("stream", [False, True])
def test_models_of_an_ollama_server_are_asked_in_its_own_words(
    client: ollama.Client, stand_in: StandIn, stream: bool
) -> None:
    answer = generate(client, "llama3.2", "why?", stream=stream)
    parts = list(answer) if stream else [answer]
    assert "".join(part.response for part in parts) == "you said: why?"
    path, body = stand_in.heard[-1]
    assert (path, body["options"]["num_predict"]) == ("/api/generate", NEW)
    assert chat(client, "llama3.2", "hi").message.content == "chat: hi"
    assert client.embed("llama3.2", ["a", "b"]).embeddings == [[0.5, 0.25]] * 2


def test_embeddings_are_those_of_transformers(client: ollama.Client, text_models: Path) -> None:
    given = ["some text", "more words in Paris"]
    own = tiny_models.embed(text_models / "embedder")
    found = client.embed("embedder", given).embeddings
    np.testing.assert_allclose(np.array(found), own, atol=1e-6)
    one = client.embeddings("embedder", given[0]).embedding
    np.testing.assert_allclose(np.array(one), own[0], atol=1e-6)
    assert len(client.embed("embedder", given[0], dimensions=4).embeddings[0]) == 4


def test_models_are_listed_shown_loaded_and_unloaded(
    client: ollama.Client, server: Serving
) -> None:
    listed = {one.model: one for one in client.list().models}
    assert listed.keys() == {"writer", "embedder", "program", "llama3.2"}
    assert listed["writer"].size == server.home.json("show", "writer")["model"]["weight_bytes"]
    assert client.generate("writer").done_reason == "load"
    (loaded,) = [one for one in client.ps().models if one.model == "writer"]
    assert loaded.size is not None
    assert loaded.size > 0
    client.embed("embedder", "x")
    assert client.show("writer").capabilities == ["completion"]
    assert client.show("embedder").capabilities == ["embedding"]
    assert client.generate("writer", keep_alive=0).done_reason == "unload"
    assert "writer" not in [one.model for one in client.ps().models]


def test_keep_alive_is_obeyed(client: ollama.Client, server: Serving) -> None:
    chat(client, "writer", "some text", keep_alive=0)
    wait_until(lambda: "writer" not in [one.model for one in client.ps().models])
    chat(client, "writer", "some text", keep_alive=-1)
    (loaded,) = [one for one in server.home.json("ps") if one["model"] == "writer"]
    assert loaded["expires_in_seconds"] is None


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("chat", {"messages": [], "tools": [{"type": "function"}]}, 400, "'tools' is not"),
        ("chat", {"messages": [{"role": "user"}], "format": "json"}, 400, "'format' is not"),
        ("generate", {"prompt": "x", "options": {"mirostat": 1}}, 400, "'mirostat' is not"),
        ("generate", {"prompt": "x", "keep_alive": "soon"}, 400, "soon"),
        ("generate", {"prompt": "x", "model": "nobody"}, 404, "No model 'nobody'"),
        ("embed", {"input": "x"}, 400, "does not answer texts with vectors"),
        ("pull", {}, 501, "registered on the machine itself"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    server: Serving, path: str, body: dict[str, Any], status: int, message: str
) -> None:
    answer = server.post(f"/api/{path}", {"model": "writer", **body})
    assert answer.status == status
    assert message in answer.json()["error"]
