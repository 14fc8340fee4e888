"""OpenAI's API, as its unmodified client speaks it, against models that transformers made."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

from tests.contract import tiny_models
from tests.gateway import texts
from tests.gateway.serving import Serving, serving
from tests.home import Home

pytestmark = pytest.mark.xdist_group("transformers")

NEW = 6


@pytest.fixture(scope="module")
def server(gateway_home: Home, text_models: Path) -> Iterator[Serving]:
    texts.register(gateway_home, text_models)
    with serving(gateway_home) as running:
        yield running


def own_answer(text_models: Path, text: str, *, special: bool, most: int = NEW) -> tuple[str, int]:
    return texts.own_answer(text_models, text, special=special, most=most)


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    assert {one.id for one in client.models.list()} == {"writer", "embedder"}
    assert client.models.retrieve("writer").owned_by == "huggingface"
    with pytest.raises(openai.NotFoundError, match="No model 'nobody'"):
        client.models.retrieve("nobody")


def test_a_chat_is_answered_as_transformers_does(client: openai.OpenAI, text_models: Path) -> None:
    text, length = own_answer(text_models, "some text more words ", special=False)
    answer = client.chat.completions.create(
        model="writer",
        messages=[
            {"role": "user", "content": "some text"},
            {"role": "user", "content": [{"type": "text", "text": "more words"}]},
        ],
        max_tokens=NEW,
        temperature=0,
    )
    assert answer.choices[0].message.content == text
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (length, NEW)


def test_a_chat_arrives_in_parts_and_ends_with_its_usage(
    client: openai.OpenAI, text_models: Path
) -> None:
    text, length = own_answer(text_models, "some text ", special=False)
    chunks = list(
        client.chat.completions.create(
            model="writer",
            messages=[{"role": "user", "content": "some text"}],
            max_completion_tokens=NEW,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *parts, last = chunks
    words = [part.choices[0].delta.content for part in parts]
    assert len([word for word in words if word]) > 1
    assert "".join(word or "" for word in words) == text
    assert parts[0].choices[0].delta.role == "assistant"
    assert parts[-1].choices[0].finish_reason == "length"
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == length + NEW


def test_texts_are_continued_one_or_several(client: openai.OpenAI, text_models: Path) -> None:
    expected = [own_answer(text_models, text, special=True) for text in ("some text", "words")]
    answer = client.completions.create(
        model="writer", prompt=["some text", "words"], max_tokens=NEW, temperature=0
    )
    assert [one.text for one in answer.choices] == [text for text, _ in expected]
    assert answer.usage is not None
    assert answer.usage.prompt_tokens == sum(length for _, length in expected)
    parts = client.completions.create(
        model="writer", prompt="words", max_tokens=NEW, temperature=0, stream=True
    )
    assert "".join(one.choices[0].text for one in parts) == expected[1][0]


@pytest.mark.parametrize("stream", [False, True])
def test_the_text_ends_before_a_stop(
    client: openai.OpenAI, text_models: Path, stream: bool
) -> None:
    text, _ = own_answer(text_models, "some text", special=True, most=12)
    words = text.split()
    stop = next(word for word in words if word != words[0])
    options: dict[str, Any] = {"prompt": "some text", "max_tokens": 12, "temperature": 0}
    answer = client.completions.create(model="writer", stop=[stop], stream=stream, **options)
    found = answer if isinstance(answer, openai.Stream) else [answer]
    choices = [choice for one in found for choice in one.choices]
    assert "".join(one.text for one in choices) == text[: text.index(stop)]
    assert choices[-1].finish_reason == "stop"


def test_a_seed_repeats_what_was_drawn(client: openai.OpenAI) -> None:
    def drawn(seed: int) -> str:
        answer = client.completions.create(
            model="writer", prompt="some", max_tokens=20, temperature=5, top_p=1, seed=seed
        )
        text: str = answer.choices[0].text
        return text

    assert drawn(1) == drawn(1)
    assert len({drawn(seed) for seed in range(5)}) > 1


@pytest.mark.parametrize("encoding", ["float", "base64"])
def test_embeddings_are_those_of_transformers(
    client: openai.OpenAI, server: Serving, text_models: Path, encoding: str
) -> None:
    asked = ["some text", "more words in Paris"]
    own = tiny_models.embed(text_models / "embedder")
    answer = client.embeddings.create(model="embedder", input=asked)
    vectors = np.array([one.embedding for one in answer.data], np.float32)
    np.testing.assert_allclose(vectors, own, atol=1e-6)
    body = {"model": "embedder", "input": asked[0], "encoding_format": encoding}
    (raw,) = server.post("/v1/embeddings", body).json()["data"]
    given = raw["embedding"]
    if encoding == "base64":
        given = np.frombuffer(base64.b64decode(given), "<f4")
    np.testing.assert_array_equal(np.asarray(given, np.float32), vectors[0])
    short = client.embeddings.create(model="embedder", input=asked[0], dimensions=4)
    expected = vectors[0, :4] / np.linalg.norm(vectors[0, :4])
    np.testing.assert_allclose(short.data[0].embedding, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("chat/completions", {"messages": [], "tools": [{"type": "function"}]}, "'tools' is not"),
        ("chat/completions", {"messages": [], "n": 2}, "'n' is not supported"),
        ("chat/completions", {"messages": [], "response_format": {"type": "json_object"}}, "form"),
        ("chat/completions", {"messages": [], "warmth": 1}, "'warmth' is not"),
        ("chat/completions", {"messages": []}, "either text or messages"),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": 3}]},
            "`str | array`",
        ),
        ("completions", {"prompt": "x", "max_tokens": 0}, "max_new_tokens"),
        ("completions", {"prompt": "x", "echo": True}, "'echo' is not supported"),
        ("completions", {"prompt": ["x", "y"], "stream": True}, "one prompt"),
        ("completions", {}, "prompt"),
        ("embeddings", {"input": []}, "not valid"),
        ("embeddings", {"input": "x"}, "does not answer texts with vectors"),
    ],
)
def test_what_is_not_supported_is_refused_as_the_client_expects(
    server: Serving, path: str, body: dict[str, Any], message: str
) -> None:
    answer = server.post(f"/v1/{path}", {"model": "writer", **body})
    assert answer.status == 400
    assert message in answer.error["message"]
    assert answer.error["type"] == "invalid_request_error"
    assert answer.error.keys() == {"message", "type", "param", "code"}


def test_a_model_of_another_task_is_refused(client: openai.OpenAI, server: Serving) -> None:
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="the model takes string"):
            client.chat.completions.create(
                model="embedder", messages=[{"role": "user", "content": "x"}], stream=stream
            )
    answer = server.post("/v1/completions", {"model": "nobody", "prompt": "x"})
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")


def test_an_error_before_the_first_word_has_its_own_status(server: Serving) -> None:
    body = {"model": "writer", "prompt": "some " * 40, "stream": True}
    answer = server.post("/v1/completions", json.dumps(body))
    assert answer.status == 400
    assert "has 42 tokens" in answer.error["message"]
