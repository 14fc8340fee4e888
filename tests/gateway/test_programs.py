"""Requests for a program are passed on to it unchanged, in a slot of the scheduler."""

import http.client
import json
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from tests.gateway.serving import Serving, serving
from tests.home import Home
from tests.waiting import wait_until

PROGRAM = Path(__file__).with_name("chat_program.py")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("program")


@pytest.fixture(scope="module")
def server(gateway_home: Home, folder: Path) -> Iterator[Serving]:
    for name in ("chat", "org/chat"):
        gateway_home.register(
            name, "--cmd", f"{sys.executable} {PROGRAM} {{port}} {folder}", "--concurrency", 2
        )
    with serving(gateway_home) as running:
        yield running


@pytest.fixture
def client(server: Serving) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def go(folder: Path) -> Iterator[Callable[[], None]]:
    """Lets waiting answers go on."""
    yield (folder / "go").touch
    for name in ("go", "seen"):
        (folder / name).unlink(missing_ok=True)


def busy(home: Home, name: str = "chat") -> bool:
    return any(one["state"] == "busy" for one in home.json("ps") if one["model"] == name)


def begin(
    client: openai.OpenAI, text: str
) -> "openai.Stream[openai.types.chat.ChatCompletionChunk]":
    return client.chat.completions.create(
        model="chat", messages=[{"role": "user", "content": text}], stream=True
    )


def words(chunk: openai.types.chat.ChatCompletionChunk) -> str:
    return chunk.choices[0].delta.content or ""


def test_openais_client_gets_what_the_program_answers(
    client: openai.OpenAI, server: Serving, folder: Path
) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    answer = client.chat.completions.create(
        model="chat",
        messages=[{"role": "user", "content": "hello there"}],
        tools=tools,
        extra_body={"top_k": 3},
    )
    assert answer.choices[0].message.content == "hello there"
    assert answer.model == "real-name"
    sent = json.loads((folder / "request").read_bytes().partition(b"\n\n")[2])
    assert (sent["model"], sent["tools"], sent["top_k"]) == ("chat", tools, 3)


def test_the_body_and_the_headers_are_passed_on_byte_for_byte(
    server: Serving, folder: Path
) -> None:
    body = b'{ "model":"chat", "odd" : 1e2,\n "x": "\\u00e9"}'
    headers = {"X-Mine": "1", "Content-Type": "application/json", "Accept-Encoding": "gzip"}
    with httpx.Client() as client:
        response = client.post(f"{server.url}/v1/odd/path?a=%2F&b", content=body, headers=headers)
    assert (response.status_code, response.content) == (201, body)
    assert response.headers["x-program"] == "chat"
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    head, _, sent = (folder / "request").read_bytes().partition(b"\n\n")
    line, *fields = head.decode().split("\n")
    assert (line, sent) == ("POST /v1/odd/path?a=%2F&b HTTP/1.1", body)
    got = dict(field.lower().split(": ", 1) for field in fields)
    assert got["x-mine"] == "1"
    assert got["accept-encoding"] == "gzip"
    assert "connection" not in got
    assert got["content-length"] == str(len(body))


@pytest.mark.parametrize("name", ["chat", "org/chat", "org%2Fchat"])
def test_all_that_a_program_offers_is_below_upstream(server: Serving, name: str) -> None:
    assert server.get(f"/upstream/{name}/any/thing?q=1").json() == {"here": "/any/thing?q=1"}
    assert server.get(f"/upstream/{name}").json() == {"here": "/"}
    assert server.ask("DELETE", f"/upstream/{name}/x").status == 405
    assert (
        server.post(f"/upstream/{name}/x", b"some bytes", content_type="a/b").body == b"some bytes"
    )


def begin_upload(
    server: Serving,
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Send a part of a body, and read what the program has answered to it."""
    connection = server.connect()
    connection.putrequest("POST", "/upstream/chat/echo")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    connection.send(b"5\r\nfirst\r\n")
    response = connection.getresponse()
    assert response.read(5) == b"first"
    return connection, response


def test_a_body_is_passed_on_while_it_arrives_and_answered_meanwhile(server: Serving) -> None:
    connection, response = begin_upload(server)
    assert busy(server.home)
    connection.send(b"6\r\nsecond\r\n0\r\n\r\n")
    assert response.read() == b"second"
    wait_until(lambda: not busy(server.home))


def test_a_client_that_leaves_in_the_middle_of_its_body_gives_back_its_slot(
    server: Serving,
) -> None:
    connection, response = begin_upload(server)
    response.close()
    connection.close()
    wait_until(lambda: not busy(server.home))


def test_a_large_body_arrives_whole(server: Serving) -> None:
    body = bytes(range(256)) * 40_000
    assert server.post("/upstream/chat/x", body, content_type="a/b").body == body


def test_the_parts_of_a_stream_arrive_as_they_are_made(
    client: openai.OpenAI, server: Serving, go: Callable[[], None]
) -> None:
    with begin(client, "one two wait three") as stream:
        parts = iter(stream)
        assert [words(next(parts)) for _ in range(2)] == ["one ", "two "]
        assert busy(server.home)
        go()
        assert [words(part) for part in parts] == ["wait ", "three "]
    wait_until(lambda: not busy(server.home))


def test_a_client_that_leaves_gives_back_its_slot_and_the_program_notices(
    client: openai.OpenAI, server: Serving, folder: Path, go: Callable[[], None]
) -> None:
    with begin(client, "one wait two") as stream:
        assert words(next(iter(stream))) == "one "
    wait_until((folder / "seen").exists)
    wait_until(lambda: not busy(server.home))


def test_no_more_requests_are_passed_on_at_once_than_the_model_takes(
    client: openai.OpenAI, server: Serving, go: Callable[[], None]
) -> None:
    with ThreadPoolExecutor(3) as pool:
        asked = [
            pool.submit(lambda: "".join(map(words, begin(client, "wait done")))) for _ in range(3)
        ]
        wait_until(lambda: server.home.json("health")["queued"] == 1)
        assert not any(one.done() for one in asked)
        go()
        assert [one.result(60) for one in asked] == ["wait done "] * 3


def test_a_program_that_dies_while_it_answers_breaks_off_the_response_and_is_started_again(
    client: openai.OpenAI, server: Serving
) -> None:
    (before,) = [one["pid"] for one in server.home.json("ps") if one["model"] == "chat"]
    with pytest.raises(openai.APIConnectionError), begin(client, "one die") as stream:
        list(stream)
    wait_until(lambda: not psutil.pid_exists(before))
    with begin(client, "back again") as stream:
        assert "".join(map(words, stream)) == "back again "


def test_a_program_that_hangs_up_before_it_responds_is_reported(server: Serving) -> None:
    answer = server.post("/upstream/chat/hang-up", b"x")
    assert (answer.status, answer.error["code"]) == (500, "InferenceError")
    assert "The program of chat did not answer" in answer.error["message"]
    wait_until(lambda: not busy(server.home))


def test_a_model_that_is_no_program_has_nothing_below_upstream(server: Serving, zoo: Path) -> None:
    weights, classes = zoo / "x2.safetensors", zoo / "classes.py"
    server.home.register("twice", weights, "--class", f"{classes}:Scale")
    answer = server.get("/upstream/twice/x")
    assert answer.status == 400
    assert "no program serves" in answer.error["message"]
    answer = server.get("/upstream/chta/x")
    assert (answer.status, answer.error["hint"]) == (404, "Did you mean chat? ")
    answer = server.post("/v1/audio/speech", {"model": "twice", "input": "x"})
    assert (answer.status, answer.error["code"]) == (404, "NotFound")


def test_slots_are_given_back_when_the_gateway_is_killed(
    gateway_home: Home, folder: Path, go: Callable[[], None]
) -> None:
    with serving(gateway_home) as other:
        with openai.OpenAI(base_url=f"{other.url}/v1", api_key="none", max_retries=0) as client:
            stream = begin(client, "one wait")
            assert words(next(iter(stream))) == "one "
            other.process.send_signal(signal.SIGKILL)
            wait_until((folder / "seen").exists)
    wait_until(lambda: not busy(gateway_home))
