"""Aliases in every dialect: the model that was chosen answers, and fall-backs work everywhere."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import ollama
import openai
import pytest
import tritonclient.http as triton
from openai.types.chat import ChatCompletionMessageParam

from tests.gateway import texts
from tests.gateway.serving import Serving, serving
from tests.gateway.test_programs import PROGRAM
from tests.home import Home

pytestmark = pytest.mark.xdist_group("transformers")

USER: list[ChatCompletionMessageParam] = [{"role": "user", "content": "some text"}]
BROKEN = """
class Broken:
    def load(self, path):
        raise OSError("the disk is gone")

    def predict(self, data):
        return data
"""


@pytest.fixture(scope="module")
def server(
    gateway_home: Home, text_models: Path, zoo: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("aliases")
    texts.register(gateway_home, text_models)
    (folder / "broken.py").write_text(BROKEN)
    code = folder / "broken.py"
    gateway_home.register("broken", code, "--class", f"{code}:Broken")
    gateway_home.register("twice", zoo / "x2.safetensors", "--class", f"{zoo}/classes.py:Scale")
    gateway_home.register("program", "--cmd", f"{sys.executable} {PROGRAM} {{port}} {folder}")
    gateway_home.register("failing", "--cmd", f"{sys.executable} -c 'print(1)' {{port}}")
    for name, *models in (
        ("chat", "nobody", "writer"),
        ("any-chat", "failing", "program", "writer"),
        ("embed", "embedder"),
        ("scale", "broken", "twice"),
        ("nothing", "nobody"),
    ):
        gateway_home.sire("alias", "set", name, *models)
    with serving(gateway_home) as running:
        yield running


def test_openais_client_is_told_which_model_answers(client: openai.OpenAI) -> None:
    own, answer = (
        client.chat.completions.create(model=name, messages=USER, max_tokens=3, temperature=0)
        for name in ("writer", "chat")
    )
    assert answer.model == "writer"
    assert answer.choices[0].message.content == own.choices[0].message.content
    assert client.embeddings.create(model="embed", input="x").model == "embedder"


def test_a_program_that_does_not_start_is_replaced_by_the_next_model(
    client: openai.OpenAI,
) -> None:
    for stream in (False, True):
        answer = client.chat.completions.create(model="any-chat", messages=USER, stream=stream)
        if isinstance(answer, openai.Stream):
            words = "".join(
                chunk.choices[0].delta.content or "" for chunk in answer if chunk.choices
            )
        else:
            words = answer.choices[0].message.content or ""
        assert words.split() == ["some", "text"], "as the program answers"


def test_ollamas_client_takes_an_alias(server: Serving) -> None:
    client = ollama.Client(server.url)
    answer = client.chat(
        "chat",
        messages=[{"role": "user", "content": "some text"}],
        options={"num_predict": 2, "temperature": 0},
    )
    assert answer.model == "writer"
    named = {one.model for one in client.list().models}
    assert {"chat", "writer", "embed"} <= named
    assert "nothing" not in named


def test_tensors_and_other_bodies_reach_the_model_that_can_be_loaded(server: Serving) -> None:
    answer = server.post("/models/scale/predict", [[1, 2, 3, 4]])
    assert answer.json() == [[2, 4, 6, 8]]
    client = triton.InferenceServerClient(server.authority)
    rows = triton.InferInput("x", [1, 4], "FP32")
    rows.set_data_from_numpy(np.ones((1, 4), np.float32))
    result = client.infer("scale", [rows])
    np.testing.assert_array_equal(result.as_numpy("output_0"), [[2, 2, 2, 2]])
    assert "scale" in {one["name"] for one in client.get_model_repository_index()}


def test_lists_have_aliases_that_stand_for_a_model(client: openai.OpenAI, server: Serving) -> None:
    listed = {one["id"]: one["root"] for one in server.get("/v1/models").json()["data"]}
    assert listed["chat"] == listed["writer"] == "writer"
    assert "nothing" not in listed
    assert client.models.retrieve("embed").id == "embed"
    with pytest.raises(openai.NotFoundError, match="None of the models of the alias nothing"):
        client.models.retrieve("nothing")


def test_all_that_a_program_offers_is_found_below_an_alias(server: Serving) -> None:
    server.home.sire("alias", "set", "tool", "program")
    assert server.get("/upstream/tool/props").json() == {"here": "/props"}


def test_a_key_for_an_alias_allows_that_name_only(server: Serving, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made = server.home.sire("key", "add", "me", "--models", "chat,embed,scale", "--file", file)
    headers = {"authorization": f"Bearer {made.stdout.decode().strip()}"}
    with serving(server.home, "--keys", str(file)) as guarded:
        for path, body in (
            ("/models/{}/predict", [[1, 2, 3, 4]]),
            ("/v1/embeddings", {"model": "{}", "input": "x"}),
            ("/api/embed", {"model": "{}", "input": "x"}),
            ("/v1/chat/completions", {"model": "{}", "messages": USER, "max_tokens": 1}),
            ("/api/chat", {"model": "{}", "messages": USER, "stream": False}),
        ):
            kind = "scale" if "models" in path else "embed" if "embed" in path else "chat"
            own = {"scale": "twice", "embed": "embedder", "chat": "writer"}[kind]
            for name, status in ((kind, 200), (own, 404)):
                text = json.dumps(body).replace("{}", name)
                answer = guarded.post(path.replace("{}", name), text, **headers)
                assert answer.status == status, (path, name, answer.body)
        listed = guarded.get("/v1/models", **headers).json()["data"]
        assert {one["id"] for one in listed} == {"chat", "embed", "scale"}


def test_a_gateway_can_serve_aliases_only(server: Serving) -> None:
    with serving(server.home, "chat") as one:
        body = {"model": "chat", "messages": USER, "max_tokens": 1}
        assert one.post("/v1/chat/completions", body).status == 200
        assert one.post("/v1/chat/completions", {**body, "model": "writer"}).status == 404
