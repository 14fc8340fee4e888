"""OpenAI's files and batches: durable, answered as the endpoints do, and of low priority."""

import io
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pytest
from openai.types import Batch

from tests.gateway import texts
from tests.gateway.serving import Serving, serving
from tests.gateway.test_programs import PROGRAM
from tests.home import Home
from tests.waiting import wait_until

pytestmark = pytest.mark.xdist_group("transformers")

CHAT: dict[str, Any] = {
    "model": "writer",
    "messages": [{"role": "user", "content": "some text"}],
    "max_tokens": 4,
    "temperature": 0,
}
# Answers texts with vectors; writes down what it is asked, and waits at texts that say so.
WAITING = """
import pathlib
import time

import numpy as np


class Embedder:
    def load(self, path):
        self.folder = pathlib.Path(__file__).parent

    def predict(self, data):
        for text in data:
            with (self.folder / "asked").open("a") as file:
                file.write(f"{text}\\n")
            while "wait" in text and not (self.folder / "go").exists():
                time.sleep(0.01)
        return np.array([[len(text), 1.0] for text in data], np.float32)
"""
Request = dict[str, Any]


@pytest.fixture(scope="module")
def server(
    gateway_home: Home, text_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("batches")
    texts.register(gateway_home, text_models)
    gateway_home.register("program", "--cmd", f"{sys.executable} {PROGRAM} {{port}} {folder}")
    with serving(gateway_home) as running:
        yield running


@pytest.fixture
def client(server: Serving) -> Iterator[openai.OpenAI]:
    with opened(server) as client:
        yield client


@pytest.fixture
def waiting(tmp_path: Path) -> Path:
    """A folder with the class that waits for a file "go" in it."""
    (tmp_path / "waiting.py").write_text(WAITING)
    return tmp_path


def opened(server: Serving, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)


def line(number: int, body: Request, url: str = "/v1/chat/completions") -> Request:
    return {"custom_id": f"n{number}", "method": "POST", "url": url, "body": body}


def upload(client: openai.OpenAI, lines: list[Request | str]) -> str:
    content = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in lines)
    file = client.files.create(
        file=("requests.jsonl", io.BytesIO(content.encode())), purpose="batch"
    )
    name: str = file.id
    return name


def create(
    client: openai.OpenAI, lines: list[Request | str], endpoint: Any = "/v1/chat/completions"
) -> Batch:
    return client.batches.create(
        input_file_id=upload(client, lines), endpoint=endpoint, completion_window="24h"
    )


def ended(client: openai.OpenAI, batch: Batch) -> Batch:
    """The batch, once it has ended."""
    states: list[Batch] = []

    def look() -> bool:
        states.append(client.batches.retrieve(batch.id))
        return states[-1].status in {"completed", "cancelled", "expired"}

    wait_until(look)
    return states[-1]


def read(client: openai.OpenAI, file: str | None) -> dict[str, Any]:
    """The lines of a file by their custom_id."""
    if file is None:
        return {}
    lines = map(json.loads, client.files.content(file).text.splitlines())
    return {one["custom_id"]: one for one in lines}


def counted(batch: Batch) -> tuple[int, int, int]:
    counts = batch.request_counts
    assert counts is not None
    return counts.total, counts.completed, counts.failed


def test_each_line_is_answered_as_the_endpoint_does(client: openai.OpenAI, server: Serving) -> None:
    bodies = [{**CHAT, "max_tokens": count} for count in (1, 2, 3)]
    bodies.append({"model": "program", "messages": CHAT["messages"]})
    batch = create(client, [line(number, body) for number, body in enumerate(bodies)])
    assert batch.status in {"in_progress", "completed"}
    batch = ended(client, batch)
    assert batch.status == "completed"
    assert batch.error_file_id is None
    assert counted(batch) == (4, 4, 0)
    found = read(client, batch.output_file_id)
    for number, body in enumerate(bodies):
        own = server.post("/v1/chat/completions", body).json()
        response = found[f"n{number}"]["response"]
        assert response["status_code"] == 200
        assert response["body"]["choices"] == own["choices"]
        assert response["body"]["usage"] == own["usage"] if "usage" in own else True
    assert server.home.json("job", "ls") == []


@pytest.mark.parametrize(
    ("endpoint", "body", "part"),
    [
        ("/v1/completions", {"model": "writer", "prompt": ["some", "text"]}, "choices"),
        ("/v1/embeddings", {"model": "embedder", "input": ["some", "more words"]}, "data"),
    ],
)
def test_other_endpoints_have_batches_too(
    client: openai.OpenAI, server: Serving, endpoint: str, body: Request, part: str
) -> None:
    body = {**body, "max_tokens": 3, "temperature": 0} if "prompt" in body else body
    batch = ended(client, create(client, [line(0, body, endpoint)], endpoint))
    found = read(client, batch.output_file_id)
    assert found["n0"]["response"]["body"][part] == server.post(endpoint, body).json()[part]


def test_a_bad_line_becomes_an_error_line(client: openai.OpenAI, server: Serving) -> None:
    bad: list[Request | str] = [
        line(1, {**CHAT, "model": "nobody"}),
        line(2, {**CHAT, "n": 2}),
        line(3, {**CHAT, "stream": True}),
        line(4, CHAT, "/v1/embeddings"),
        {"custom_id": "n5"},
        "not JSON",
        line(0, CHAT),
    ]
    batch = ended(client, create(client, [line(0, CHAT), "", *bad]))
    assert batch.status == "completed"
    assert counted(batch) == (8, 1, 7)
    assert read(client, batch.output_file_id).keys() == {"n0"}
    assert batch.error_file_id is not None
    text = client.files.content(batch.error_file_id).text
    errors = [json.loads(one) for one in text.splitlines()]
    assert len(errors) == 7
    by_id = {one["custom_id"]: one for one in errors if one["custom_id"]}
    own = server.post("/v1/chat/completions", {**CHAT, "model": "nobody"})
    assert by_id["n1"]["response"]["status_code"] == own.status == 404
    assert by_id["n1"]["response"]["body"] == own.json()
    assert by_id["n2"]["response"]["status_code"] == 400
    messages = " ".join(one["error"]["message"] for one in errors if one["error"])
    for words in ("streamed", "asks for", "is not a request", "'n0' was used before"):
        assert words in messages


def test_files_are_listed_read_and_deleted(client: openai.OpenAI, server: Serving) -> None:
    name = upload(client, [line(0, CHAT)])
    file = client.files.retrieve(name)
    assert (file.filename, file.purpose, file.status) == ("requests.jsonl", "batch", "processed")
    assert client.files.content(name).text == json.dumps(line(0, CHAT))
    assert file.bytes == len(client.files.content(name).text)
    other = upload(client, [line(1, CHAT)])
    assert {name, other} <= {one.id for one in client.files.list(limit=1)}
    assert client.files.delete(name).deleted
    for path in (name, f"{name}/content", "file-..", "nobody"):
        assert server.get(f"/v1/files/{path}").status == 404
    with pytest.raises(openai.BadRequestError, match="'fine-tune' is not supported"):
        client.files.create(file=io.BytesIO(b"x"), purpose="fine-tune")


def test_what_cannot_be_a_batch_is_refused(client: openai.OpenAI) -> None:
    name = upload(client, [""])
    with pytest.raises(openai.BadRequestError, match="has 0 requests"):
        client.batches.create(
            input_file_id=name, endpoint="/v1/completions", completion_window="24h"
        )
    with pytest.raises(openai.NotFoundError):
        client.batches.create(
            input_file_id="file-0", endpoint="/v1/completions", completion_window="24h"
        )
    with pytest.raises(openai.BadRequestError, match="endpoint"):
        create(client, [line(0, CHAT)], "/v1/moderations")
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve("batch_0")


def test_a_batch_waits_beside_other_requests_and_can_be_cancelled(
    server: Serving, client: openai.OpenAI, waiting: Path
) -> None:
    code = waiting / "waiting.py"
    server.home.register("slow", code, "--class", f"{code}:Embedder")
    url = "/v1/embeddings"
    bodies = [{"model": "embedder", "input": f"quick {n}"} for n in range(2)]
    bodies += [{"model": "slow", "input": f"wait {n}"} for n in range(4)]
    lines = [line(n, body, url) for n, body in enumerate(bodies)]
    batch = create(client, [*lines], url)
    wait_until(lambda: counted(client.batches.retrieve(batch.id))[1] == 2)
    listed = server.home.json("job", "ls")
    assert {(one["priority"], one["metadata"]["batch"]) for one in listed} == {("low", batch.id)}
    with pytest.raises(openai.ConflictError, match="input of"):
        client.files.delete(batch.input_file_id)
    assert client.batches.cancel(batch.id).status == "cancelling"
    batch = ended(client, batch)
    assert batch.status == "cancelled"
    assert counted(batch) == (6, 2, 0)
    assert read(client, batch.output_file_id).keys() == {"n0", "n1"}
    (waiting / "go").touch()
    wait_until(lambda: server.home.json("job", "ls") == [])
    with pytest.raises(openai.ConflictError, match="has ended"):
        client.batches.cancel(batch.id)
    assert batch.id in {one.id for one in client.batches.list(limit=1)}
    client.files.delete(batch.input_file_id)


def test_a_key_has_its_own_files_and_models(server: Serving, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    made = [
        server.home.sire("key", "add", name, "--file", file, *more).stdout.decode().strip()
        for name, *more in (("one", "--models", "embedder"), ("other",))
    ]
    with (
        serving(server.home, "--keys", str(file)) as guarded,
        opened(guarded, made[0]) as one,
        opened(guarded, made[1]) as other,
    ):
        url: Literal["/v1/embeddings"] = "/v1/embeddings"
        lines = [
            line(n, {"model": name, "input": "x"}, url)
            for n, name in enumerate(("embedder", "writer"))
        ]
        batch = ended(one, create(one, [*lines], url))
        assert counted(batch) == (2, 1, 1)
        errors = read(one, batch.error_file_id)
        assert "No model 'writer' is served here" in json.dumps(errors["n1"])
        with pytest.raises(openai.NotFoundError):
            other.batches.retrieve(batch.id)
        with pytest.raises(openai.NotFoundError):
            other.files.content(batch.input_file_id)
        with pytest.raises(openai.NotFoundError):
            other.batches.create(
                input_file_id=batch.input_file_id, endpoint=url, completion_window="24h"
            )
        assert list(other.batches.list()) == list(other.files.list()) == []


@pytest.mark.own_daemon
def test_a_batch_survives_the_end_of_gateway_and_daemon(home: Home, waiting: Path) -> None:
    for model in ("fast", "slow"):
        home.register(model, waiting / "waiting.py", "--class", f"{waiting}/waiting.py:Embedder")
    url, count = "/v1/embeddings", 8
    bodies = [{"model": "fast", "input": f"quick {n}"} for n in range(4)]
    bodies += [{"model": "slow", "input": f"wait {n}"} for n in range(4)]
    lines = [line(n, body, url) for n, body in enumerate(bodies)]
    with serving(home) as first, opened(first) as client:
        batch = create(client, [*lines], url)
        wait_until(lambda: counted(client.batches.retrieve(batch.id))[1] == 4)
        daemon = home.pid()
        first.process.kill()
        first.process.wait()
        os.kill(daemon, signal.SIGKILL)
    (waiting / "go").touch()
    with serving(home) as second, opened(second) as client:
        batch = ended(client, batch)
        assert batch.status == "completed"
        assert counted(batch) == (count, count, 0)
        found = read(client, batch.output_file_id)
        for one in lines:
            own = second.post(url, one["body"]).json()
            assert found[one["custom_id"]]["response"]["body"]["data"] == own["data"]
    asked = Counter((waiting / "asked").read_text().splitlines())
    assert all(asked[f"quick {n}"] == 2 for n in range(4)), "once by the batch, once by the test"


def test_another_gateway_goes_on_once_it_is_asked(server: Serving, waiting: Path) -> None:
    server.home.register(
        "idle", waiting / "waiting.py", "--class", f"{waiting}/waiting.py:Embedder"
    )
    url = "/v1/embeddings"
    with serving(server.home) as first, opened(first) as client:
        batch = create(client, [line(0, {"model": "idle", "input": "wait"}, url)], url)
        wait_until((waiting / "asked").exists)
        with opened(server) as other:
            assert other.batches.retrieve(batch.id).status == "in_progress"
        first.process.kill()
    (waiting / "go").touch()
    with opened(server) as other:
        assert ended(other, batch).status == "completed"
    assert (waiting / "asked").read_text() == "wait\n", "the job was found, not submitted again"
