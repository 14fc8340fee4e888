"""What models in an Ollama server alone have: a library, and a server that may be missing."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sire.errors import InferenceError, InvalidInput, InvalidModel, LoadFailed, ModelNotFound
from sire.protocol.content import JSON, PNG, TEXT, Payload
from sired.runtimes.discovery import find_runtime
from sired.runtimes.ollama.runtime import LoadedOllamaModel, OllamaRuntime
from tests.stand_ins.ollama import GIB, StandIn


@pytest.fixture
def server() -> Iterator[StandIn]:
    server = StandIn()
    yield server
    server.close()


@pytest.fixture
def load(server: StandIn) -> Iterator[Callable[..., Any]]:
    runtimes = []

    def _load(
        model: str = "llama3.2", device: str = "cpu", **args: Any
    ) -> tuple[OllamaRuntime, LoadedOllamaModel]:
        runtime = find_runtime("ollama")
        assert isinstance(runtime, OllamaRuntime)
        runtimes.append(runtime)
        return runtime, runtime.load("", device=device, model=model, host=server.url, **args)

    yield _load
    for runtime in runtimes:
        runtime.unload()


def ask(loaded: tuple[OllamaRuntime, LoadedOllamaModel], accept: str = JSON, **fields: Any) -> str:
    runtime, model = loaded
    answer = runtime.forward(model, Payload(JSON, (json.dumps(fields).encode(),)), accept)
    assert isinstance(answer, Payload)
    return bytes(answer.frames[0]).decode()


def test_loading_has_the_server_load_it_and_unloading_unload_it(
    server: StandIn, load: Callable[..., Any]
) -> None:
    runtime, model = load()
    assert list(server.loaded) == ["llama3.2:latest"]
    assert runtime.get_memory_footprint(model) == 3 * GIB
    runtime.unload()
    assert server.loaded == {}


def test_on_a_gpu_what_it_takes_of_gpus_counts_and_on_a_cpu_it_is_kept_from_them(
    server: StandIn, load: Callable[..., Any]
) -> None:
    runtime, model = load(device="cuda:0")
    assert runtime.get_memory_footprint(model) == 1.5 * GIB
    assert "num_gpu" not in server.heard[-1][1]["options"]
    load()
    assert server.heard[-1][1]["options"]["num_gpu"] == 0


def test_prompt_images_and_options_are_passed_through(
    server: StandIn, load: Callable[..., Any]
) -> None:
    loaded = load(options={"temperature": 0.7, "seed": 1})
    said = json.loads(ask(loaded, prompt="hi", images=["aGk="], options={"seed": 2}, raw=True))
    assert said["response"] == "you said: hi"
    path, body = server.heard[-1]
    assert (path, body["images"], body["raw"]) == ("/api/generate", ["aGk="], True)
    assert body["options"] == {"temperature": 0.7, "num_gpu": 0, "seed": 2}


def test_messages_are_a_chat_and_inputs_are_embedded(
    server: StandIn, load: Callable[..., Any]
) -> None:
    loaded = load()
    said = json.loads(ask(loaded, messages=[{"role": "user", "content": "hello"}]))
    assert said["message"]["content"] == "chat: hello"
    assert json.loads(ask(loaded, input=["a", "b"]))["embeddings"] == [[0.5, 0.25]] * 2


def test_text_is_a_prompt_and_where_text_is_wanted_only_that_comes_back(
    load: Callable[..., Any],
) -> None:
    runtime, model = load()
    answer = runtime.forward(model, Payload(TEXT, (b"hi",)), TEXT)
    assert bytes(answer.frames[0]) == b"you said: hi"
    assert ask((runtime, model), TEXT, messages=[{"content": "x"}]) == "chat: x"
    assert runtime.forward(model, Payload(PNG, (b"",)), TEXT) is None
    assert runtime.predict(model, "hi")["response"] == "you said: hi"


def test_streams_and_times_of_its_own_are_not_asked_for(
    server: StandIn, load: Callable[..., Any]
) -> None:
    ask(load(), prompt="hi", stream=True, keep_alive=0, model="mistral:7b")
    body = server.heard[-1][1]
    assert (body["stream"], body["model"]) == (False, "llama3.2")
    assert body["keep_alive"] > 0


@pytest.mark.parametrize("content", [b"[1]", b"{}", b'{"prompt": "a", "options": 3}', b"{"])
def test_an_invalid_request_is_rejected(load: Callable[..., Any], content: bytes) -> None:
    runtime, model = load()
    with pytest.raises(InvalidInput):
        runtime.forward(model, Payload(JSON, (content,)), JSON)


def test_a_model_that_the_server_has_not_is_said_with_those_it_has(
    load: Callable[..., Any],
) -> None:
    with pytest.raises(ModelNotFound, match=r"no model 'gpt'. It has llama3.2:latest, mistral:7b"):
        load("gpt")


def test_a_server_that_is_missing_or_is_none_is_a_clear_error(
    server: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = find_runtime("ollama")
    with pytest.raises(
        LoadFailed, match=r"No Ollama server answers at http://127.0.0.1:9: Connection"
    ):
        runtime.load("", model="m", host="127.0.0.1:9")
    monkeypatch.setattr(server, "get", lambda _: (500, {"error": "boom"}))
    with pytest.raises(LoadFailed, match="is not Ollama: .* 500, boom"):
        runtime.load("", model="m", host=server.url)


@pytest.mark.parametrize("host", ["https://far", "http://:x", "http://h:99999"])
def test_an_address_that_is_none_is_invalid(host: str) -> None:
    with pytest.raises(InvalidModel, match="not a valid server address"):
        find_runtime("ollama").load("", model="m", host=host)


def test_a_server_that_cannot_load_it_says_why(server: StandIn, load: Callable[..., Any]) -> None:
    server.refuses = 500, {"error": "llama runner process has terminated"}
    with pytest.raises(LoadFailed, match="runner process has terminated"):
        load()
    server.refuses = 500, {"error": "model requires more system memory (5 GiB) than is available"}
    with pytest.raises(MemoryError, match="5 GiB"):
        load()


def test_a_server_that_goes_away_fails_the_request(
    server: StandIn, load: Callable[..., Any]
) -> None:
    loaded = load()
    server.close()
    with pytest.raises(InferenceError, match="No Ollama server answers"):
        ask(loaded, prompt="hi")
