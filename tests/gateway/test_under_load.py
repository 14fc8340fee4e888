"""A service's gateway that is killed, stopped and restarted while clients ask.

Every answer is right, or an error of the connection; no client hangs, no job is lost, and no model
is loaded anew.
"""

import http.client
import json
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from sire.protocol.jobs import JobResult
from tests.gateway import texts
from tests.gateway.test_services import address, detach, shown
from tests.home import Home
from tests.waiting import wait_until

NEW = 6
PATIENCE_SECONDS = 90.0
BROKEN = (
    ConnectionError,
    http.client.HTTPException,
    openai.APIConnectionError,
    httpx.TransportError,
)
HUNG = (TimeoutError, openai.APITimeoutError, httpx.TimeoutException)
ECHO = """
class Echo:
    def load(self, path):
        pass

    def predict(self, data):
        return {"said": data}
"""


class Client:
    """Asks again and again in a thread of its own, until it is told to stop.

    Attributes:
        answers: number of complete answers, all of which were right unless there are failures.
        broken: number of requests whose connection was refused or broke off.
        failures: what else happened.
    """

    def __init__(self) -> None:
        self.answers = self.broken = 0
        self.failures: list[str] = []
        self.stopping = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def ask(self, number: int) -> str:
        """Ask once; returns what is wrong with the answer, "" if nothing is."""
        raise NotImplementedError

    def _run(self) -> None:
        number = 0
        while not self.stopping.is_set():
            number += 1
            try:
                wrong = self.ask(number)
            except HUNG as problem:
                self.failures.append(f"hung: {problem!r}")
            except BROKEN:
                self.broken += 1
                self.stopping.wait(0.02)  # it may be refused until the gateway is back
            except Exception as problem:
                self.failures.append(repr(problem))
            else:
                if wrong:
                    self.failures.append(wrong)
                self.answers += 1

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), f"{type(self).__name__} hangs"


class PlainClient(Client):
    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where
        self._connection: http.client.HTTPConnection | None = None

    def post(self, path: str, body: object) -> tuple[int, Any]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._where, timeout=PATIENCE_SECONDS)
        try:
            self._connection.request("POST", path, json.dumps(body))
            response = self._connection.getresponse()
            return response.status, json.loads(response.read())
        except BaseException:
            self._connection.close()
            self._connection = None
            raise

    def ask(self, number: int) -> str:
        answer = self.post("/models/m/predict", [[number, 2, 3, 4]])
        return "" if answer == (200, [[2.0 * number, 4.0, 6.0, 8.0]]) else f"{number}: {answer}"


class JobClient(PlainClient):
    """Submits jobs; ``accepted`` has those that the gateway has confirmed."""

    def __init__(self, where: str) -> None:
        super().__init__(where)
        self.accepted: dict[str, str] = {}

    def ask(self, number: int) -> str:
        self.stopping.wait(0.05)  # a few hundred are enough
        status, body = self.post("/api/submit", {"model": "echo", "prompt": f"job {number}"})
        if status != 200:
            return f"{status}: {body}"
        self.accepted[body["job_id"]] = f"job {number}"
        return ""


class StreamingClient(Client):
    """Has text streamed; ``text`` is what transformers itself writes."""

    def __init__(self, where: str, text: str) -> None:
        super().__init__()
        self._client = openai.OpenAI(
            base_url=f"http://{where}/v1", api_key="none", max_retries=0, timeout=PATIENCE_SECONDS
        )
        self._text = text

    def ask(self, number: int) -> str:
        parts = [
            chunk.choices[0].text
            for chunk in self._client.completions.create(
                model="writer", prompt="words", max_tokens=NEW, temperature=0, stream=True
            )
            if chunk.choices
        ]
        text = "".join(parts)
        return "" if text == self._text else f"{number}: {text!r} instead of {self._text!r}"


def goes_on(clients: list[Client]) -> None:
    """Wait until each client has three more answers."""
    before = [client.answers for client in clients]
    wait_until(
        lambda: all(
            client.failures or client.answers >= had + 3
            for client, had in zip(clients, before, strict=True)
        )
    )
    assert [client.failures for client in clients] == [[]] * len(clients)


def ends(home: Home, number: int) -> None:
    """Send the gateway a signal that ends it, and wait until another one runs."""
    before = shown(home)
    os.kill(before["pid"], number)
    wait_until(lambda: shown(home)["restarts"] > before["restarts"])
    wait_until(lambda: shown(home)["state"] == "running")


def is_stopped(pid: int) -> bool:
    return "\nState:\tT" in Path(f"/proc/{pid}/status").read_text()


@pytest.fixture
def where(home: Home, register: Any, text_models: Path, tmp_path: Path) -> str:
    """The address of a service with a model each for rows, texts and jobs."""
    register("m")
    (tmp_path / "echo.py").write_text(ECHO)
    home.register("echo", tmp_path / "echo.py")
    texts.register(home, text_models)
    detach(home)
    return address(home)


def test_a_gateway_that_is_killed_and_restarted_loses_no_more_than_connections(
    home: Home, where: str, text_models: Path
) -> None:
    text, _ = texts.own_answer(text_models, "words", special=True, most=NEW)
    jobs = JobClient(where)
    clients = [PlainClient(where), PlainClient(where), StreamingClient(where, text), jobs]
    with ExitStack() as running:
        for client in clients:
            running.enter_context(client.running())
        goes_on(clients)
        workers = {one["model"]: one["pid"] for one in home.json("ps")}
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
            ends(home, number)
            goes_on(clients)
    assert clients[0].broken + clients[1].broken + clients[2].broken > 0
    assert {one["model"]: one["pid"] for one in home.json("ps")} == workers
    ended = home.json("job", "wait", *jobs.accepted)
    assert {one["job"]: one["state"] for one in ended} == dict.fromkeys(jobs.accepted, "complete")
    with home.connect() as connection:
        for job, prompt in jobs.accepted.items():
            _, (result,) = connection.ask(JobResult(job=job))
            assert json.loads(bytes(result)) == {"said": prompt}


def test_requests_to_a_stopped_gateway_are_answered_when_it_continues(
    home: Home, where: str, text_models: Path
) -> None:
    text, _ = texts.own_answer(text_models, "words", special=True, most=NEW)
    clients: list[Client] = [PlainClient(where), StreamingClient(where, text)]
    with ExitStack() as running:
        for client in clients:
            running.enter_context(client.running())
        goes_on(clients)
        pid = shown(home)["pid"]
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: is_stopped(pid))
        had = [client.answers for client in clients]
        home.sire("predict", "m", "-i", "-", stdin=b"[[1, 2, 3, 4]]")  # the daemon goes on
        os.kill(pid, signal.SIGCONT)
        goes_on(clients)
    assert [client.broken for client in clients] == [0, 0]
    assert all(client.answers > before for client, before in zip(clients, had, strict=True))


def test_a_stopped_gateway_does_not_keep_its_service_from_ending(home: Home, where: str) -> None:
    pid = shown(home)["pid"]
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: is_stopped(pid))
    home.sire("service", "stop", "serve")
    assert not Path(f"/proc/{pid}").exists()
