"""Jobs over HTTP, as an ordinary client of a job server in front of Ollama asks for them."""

import base64
import os
import signal
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from sire.client.autostart import daemon_runs
from tests.conftest import Gate
from tests.gateway.serving import Serving, serving
from tests.gateway.test_programs import PROGRAM
from tests.home import Home
from tests.stand_ins.ollama import StandIn
from tests.waiting import wait_until

CODE = """
class Echo:
    def load(self, path):
        pass

    def predict(self, data):
        if data == "fail":
            raise ValueError("it does not like this")
        return {"said": data}
"""


@pytest.fixture(scope="module")
def stand_in() -> Iterator[StandIn]:
    server = StandIn()
    yield server
    server.close()


@pytest.fixture(scope="module")
def server(
    gateway_home: Home, tmp_path_factory: pytest.TempPathFactory, stand_in: StandIn, zoo: Path
) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("jobs")
    (folder / "echo.py").write_text(CODE)
    gateway_home.register("echo", folder / "echo.py")
    gateway_home.register("moody", zoo / "x2.safetensors", "--class", f"{zoo / 'classes.py'}:Moody")
    host = ("--arg", f"host={stand_in.url}")
    gateway_home.register("llama3.2", "--runtime", "ollama", *host)
    gateway_home.register("program", "--cmd", f"{sys.executable} {PROGRAM} {{port}} {folder}")
    with serving(gateway_home) as running:
        yield running


def submit(server: Serving, **body: Any) -> str:
    answer = requests.post(f"{server.url}/api/submit", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"job_id": answer.json()["job_id"], "status": "submitted"}
    job: str = answer.json()["job_id"]
    return job


def status(server: Serving, job: str) -> dict[str, Any]:
    found: dict[str, Any] = requests.get(f"{server.url}/api/job/{job}", timeout=60).json()
    return found


def ended(server: Serving, job: str) -> dict[str, Any]:
    wait_until(lambda: status(server, job)["status"] in {"complete", "failed"})
    return status(server, job)


def test_a_job_of_an_ollama_model_is_answered_with_its_text(
    server: Serving, stand_in: StandIn
) -> None:
    job = submit(server, model="llama3.2:latest", prompt="Why?", priority="high")
    done = ended(server, job)
    assert (done["job_id"], done["status"], done["model"]) == (job, "complete", "llama3.2")
    assert isinstance(done["result"], str)
    assert stand_in.heard[-1][1]["prompt"] == "Why?"
    submitted, completed = (datetime.fromisoformat(done[f"{end}_at"]) for end in SENT_AND_DONE)
    assert submitted <= completed


SENT_AND_DONE = ("submitted", "completed")


def test_images_go_to_models_that_take_them(server: Serving, stand_in: StandIn) -> None:
    image = base64.b64encode(b"a picture").decode()
    done = ended(server, submit(server, model="llama3.2", prompt="What is it?", images=[image]))
    assert done["status"] == "complete"
    assert stand_in.heard[-1][1]["images"] == [image]
    refused = requests.post(
        f"{server.url}/api/submit",
        json={"model": "echo", "prompt": "x", "images": [image]},
        timeout=60,
    )
    assert refused.status_code == 400
    assert "takes no images" in refused.json()["error"]


def test_a_job_of_any_model_is_answered_with_its_data(server: Serving) -> None:
    assert ended(server, submit(server, model="echo", prompt="x"))["result"] == {"said": "x"}


def test_a_program_gets_the_prompt_in_a_field(server: Serving) -> None:
    assert ended(server, submit(server, model="program", prompt="x"))["result"] == {"prompt": "x"}


def test_a_job_that_fails_says_why(server: Serving) -> None:
    failed = ended(server, submit(server, model="echo", prompt="fail"))
    assert failed["status"] == "failed"
    assert "it does not like this" in failed["error"]
    assert "result" not in failed


def test_what_is_submitted_with_a_job_is_kept(server: Serving) -> None:
    metadata = {"batch": "nightly", "number": 3}
    job = submit(server, model="echo", prompt="x", priority="low", metadata=metadata)
    kept = server.home.json("job", "show", job)["job"]
    assert kept["metadata"] == {"batch": "nightly", "number": "3"}
    assert kept["priority"] == "low"


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ({"model": "ehco", "prompt": "x"}, 404, "Did you mean echo"),
        ({"model": "echo"}, 400, "prompt"),
        ({"model": "echo", "prompt": "x", "priority": "urgent"}, 400, "urgent"),
        ({"model": "echo", "prompt": "x", "path": "/etc/passwd"}, 400, "path"),
    ],
)
def test_a_job_that_cannot_be_is_refused(
    server: Serving, body: dict[str, Any], code: int, said: str
) -> None:
    refused = requests.post(f"{server.url}/api/submit", json=body, timeout=60)
    assert refused.status_code == code
    assert said in refused.json()["error"]


def test_a_job_that_does_not_exist_is_not_found(server: Serving) -> None:
    answer = requests.get(f"{server.url}/api/job/none", timeout=60)
    assert answer.status_code == 404
    assert "none" in answer.json()["error"]


def test_statistics_count_jobs_by_status(server: Serving, gate: Gate) -> None:
    def counts() -> dict[str, Any]:
        answer = requests.get(f"{server.url}/api/stats", timeout=60)
        assert answer.json()["running"] is True
        queue: dict[str, Any] = answer.json()["queue"]
        return queue

    before = counts()
    assert set(before["by_status"]) == {"pending", "queued", "running", "complete", "failed"}
    server.home.sire("submit", "moody", "-i", "-", stdin=b"[[5, 0, 0, 0]]")
    wait_until(lambda: counts()["by_status"]["running"] == 1)
    assert counts()["total_jobs"] == before["total_jobs"] + 1
    gate.open()
    wait_until(lambda: counts()["by_status"]["complete"] == before["by_status"]["complete"] + 1)


def test_statistics_have_memory_in_bytes_and_the_models_that_are_loaded(server: Serving) -> None:
    ended(server, submit(server, model="echo", prompt="x"))
    resources = requests.get(f"{server.url}/api/stats", timeout=60).json()["resources"]
    assert set(resources["vram"]) == {"total", "used", "free"}
    assert "echo" in resources["loaded_models"]


def test_health_is_that_of_the_daemon(server: Serving) -> None:
    answer = requests.get(f"{server.url}/api/health", timeout=60)
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


@pytest.mark.own_daemon
def test_a_job_survives_a_daemon_that_is_killed(home: Home, zoo: Path, gate: Gate) -> None:
    home.register("moody", zoo / "x2.safetensors", "--class", f"{zoo / 'classes.py'}:Moody")
    code = zoo / "echo.py"
    code.write_text(CODE)
    home.register("echo", code, "--concurrency", 1)
    with serving(home) as running:
        home.sire("submit", "moody", "-i", "-", stdin=b"[[5, 0, 0, 0]]")
        jobs = [submit(running, model="echo", prompt=str(number)) for number in range(20)]
        os.kill(home.pid(), signal.SIGKILL)
        wait_until(lambda: not daemon_runs(home.paths))
        gate.open()
        results = [ended(running, job) for job in jobs]
    assert [one["result"] for one in results] == [{"said": str(n)} for n in range(20)]
