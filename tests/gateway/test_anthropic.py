"""Anthropic's API, as its unmodified client speaks it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from tests.gateway import texts
from tests.gateway.serving import Serving, serving
from tests.gateway.test_programs import PROGRAM
from tests.home import Home

pytestmark = pytest.mark.xdist_group("transformers")

NEW = 6
ASKED: Any = {"model": "writer", "max_tokens": NEW}


@pytest.fixture(scope="module")
def server(gateway_home: Home, text_models: Path) -> Iterator[Serving]:
    texts.register(gateway_home, text_models)
    gateway_home.register("program", "--cmd", f"{sys.executable} {PROGRAM} {{port}} {text_models}")
    with serving(gateway_home) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Serving) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as client:
        yield client


def test_a_chat_is_answered_as_transformers_does(
    client: anthropic.Anthropic, text_models: Path
) -> None:
    text, length = texts.own_answer(text_models, "some text more words ", special=False, most=NEW)
    answer = client.messages.create(
        system="some text",
        messages=[{"role": "user", "content": [{"type": "text", "text": "more words"}]}],
        **ASKED,
    )
    assert [block.text for block in answer.content if block.type == "text"] == [text]
    assert (answer.role, answer.model, answer.stop_reason) == ("assistant", "writer", "max_tokens")
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (length, NEW)


def test_a_chat_arrives_in_parts_and_ends_with_its_usage(
    client: anthropic.Anthropic, text_models: Path
) -> None:
    text, length = texts.own_answer(text_models, "some text ", special=False, most=NEW)
    messages: Any = [{"role": "user", "content": "some text"}]
    with client.messages.stream(messages=messages, **ASKED) as stream:
        parts = list(stream.text_stream)
        last = stream.get_final_message()
    assert len(parts) > 1
    assert "".join(parts) == text
    assert last.stop_reason == "max_tokens"
    assert (last.usage.input_tokens, last.usage.output_tokens) == (length, NEW)


def test_the_text_ends_before_a_stop_sequence(
    client: anthropic.Anthropic, text_models: Path
) -> None:
    text, _ = texts.own_answer(text_models, "some text ", special=False, most=NEW)
    stop = next(word for word in text.split() if word != text.split()[0])
    answer = client.messages.create(
        messages=[{"role": "user", "content": "some text"}], stop_sequences=[stop], **ASKED
    )
    assert answer.content[0].to_dict()["text"] == text[: text.index(stop)]
    assert answer.stop_reason == "end_turn"


def test_a_program_gets_the_request_itself(client: anthropic.Anthropic, text_models: Path) -> None:
    tools: Any = [{"name": "f", "input_schema": {"type": "object"}}]
    messages: Any = [{"role": "user", "content": "x"}]
    answer = client.messages.with_raw_response.create(
        model="program", max_tokens=3, messages=messages, tools=tools
    )
    head, _, body = (text_models / "request").read_bytes().partition(b"\n\n")
    assert head.startswith(b"POST /v1/messages HTTP/1.1\n")
    assert b'"input_schema"' in body
    assert answer.http_response.content == body


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": []}, "messages is empty"),
        ({"messages": [{"role": "user", "content": "x"}], "tools": [{"name": "f"}]}, "'tools'"),
        ({"messages": [{"role": "user", "content": "x"}], "top_k": 3}, "'top_k' is not"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "not valid"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    server: Serving, body: dict[str, Any], message: str
) -> None:
    answer = server.post("/v1/messages", {"model": "writer", "max_tokens": 1, **body})
    assert answer.status == 400
    assert answer.json()["type"] == "error"
    assert answer.error["type"] == "invalid_request_error"
    assert message in answer.error["message"]


def test_errors_are_those_that_the_client_knows(client: anthropic.Anthropic) -> None:
    messages: Any = [{"role": "user", "content": "x"}]
    with pytest.raises(anthropic.NotFoundError, match="No model 'nobody'"):
        client.messages.create(model="nobody", max_tokens=1, messages=messages)
    with pytest.raises(anthropic.BadRequestError, match="the model takes string"):
        client.messages.create(model="embedder", max_tokens=1, messages=messages)
