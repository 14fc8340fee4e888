"""One model on a port of its own: the options of `sire serve NAME` that concern the model."""

import http.client
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sire.errors import InvalidConfiguration
from sire.spec import ModelSpec
from sire_cli.recipes import FRAMEWORKS, RECIPES, served_by
from tests.conftest import Gate
from tests.gateway.serving import serving
from tests.gateway.test_programs import PROGRAM
from tests.gateway.test_services import address, ask, detach
from tests.home import Home
from tests.waiting import wait_until

Register = Callable[..., Any]


@pytest.fixture
def programs(tmp_path: Path) -> dict[str, str]:
    """An environment whose PATH begins with a stand-in for each program, which notes its call."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for recipe in RECIPES.values():
        program = folder / recipe.program
        program.write_text(
            f"#!{sys.executable}\n"
            "import json, os, pathlib, sys\n"
            f"pathlib.Path({str(tmp_path)!r}, 'called').write_text(json.dumps(sys.argv[1:]))\n"
            "port = sys.argv[sys.argv.index('--port') + 1]\n"
            f"command = [sys.executable, {str(PROGRAM)!r}, port, {str(tmp_path)!r}]\n"
            "os.execv(sys.executable, command)\n"
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("framework", "called"),
    [
        (
            "vllm",
            "serve PATH --served-model-name chat --host 127.0.0.1 --port PORT --max-num-seqs 3",
        ),
        ("tgi", "--model-id PATH --hostname 127.0.0.1 --port PORT --max-batch-size 3"),
        ("llama.cpp", "-m PATH --alias chat --host 127.0.0.1 --port PORT --parallel 3"),
    ],
)
def test_a_model_is_served_by_a_program_as_its_recipe_says(
    home: Home, zoo: Path, tmp_path: Path, programs: dict[str, str], framework: str, called: str
) -> None:
    weights = zoo / "x2.safetensors"
    home.register("chat", weights, "--class", f"{zoo / 'classes.py'}:Scale", "--priority", "high")
    options = ("--framework", framework, "--device", "cpu", "--max-batch-size", "3")
    home.sire(*("serve", "chat", "--detach", "--listen", "127.0.0.1:0", *options), env=programs)
    where = address(home, "chat")
    wait_until(lambda: ask(where, "/health/ready")[0] == 200)
    connection = http.client.HTTPConnection(where, timeout=90)
    body = {"model": "chat", "messages": [{"role": "user", "content": "a b"}], "stream": True}
    connection.request("POST", "/v1/chat/completions", json.dumps(body))
    response = connection.getresponse()
    assert response.status == 200
    assert b"data:" in response.read()
    connection.close()

    words = json.loads((tmp_path / "called").read_text())
    port = words[words.index("--port") + 1]
    assert words == called.replace("PATH", str(weights)).replace("PORT", port).split()
    model = home.json("show", "chat")["model"]
    assert (model["runtime"], model["device"], model["concurrency"]) == ("command", "cpu", 3)
    assert model["priority"] == "high"
    (before,) = home.json("ps")
    home.sire("service", "stop", "chat")
    home.sire("serve", "chat", "--detach", "--listen", "127.0.0.1:0", *options, env=programs)
    (after,) = home.json("ps")
    assert after["pid"] == before["pid"]  # it was registered like that


def test_a_program_that_is_not_installed_is_named_with_how_to_get_it(
    home: Home, register: Register
) -> None:
    register("m")
    before = home.json("show", "m")["model"]
    nowhere = {"PATH": "/nonexistent"}
    for framework, recipe in RECIPES.items():
        failed = home.sire("serve", "m", "--framework", framework, env=nowhere, code=2).stderr
        assert f"no program {recipe.program} on PATH".encode() in failed
        assert recipe.install.encode() in failed
    assert home.json("show", "m")["model"] == before
    unknown = home.sire("serve", "m", "--framework", "vlm", code=2).stderr
    assert b"Did you mean vllm?" in unknown
    assert b"the name of one model" in home.sire("serve", "--device", "cpu", code=2).stderr


def test_on_a_gpu_programs_are_given_their_part_of_its_memory(
    programs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", programs["PATH"])
    model = ModelSpec("m", "/models/m", device="cuda:0")
    assert "{fraction}" in served_by(model, "vllm", on_gpu=True).args["cmd"]
    assert "{fraction}" in served_by(model, "tgi", on_gpu=True).args["cmd"]
    assert "{fraction}" not in served_by(model, "vllm").args["cmd"]


def test_transformers_is_the_runtime_of_the_daemon() -> None:
    model = ModelSpec("m", "/models/m", runtime="command", args={"cmd": "x"}, group="g")
    served = served_by(model, "transformers", most=4)
    assert (served.runtime, served.batch_size, served.args) == ("huggingface", 4, {})
    assert served.group == "g"
    with pytest.raises(InvalidConfiguration, match="no framework"):
        served_by(model, "x")
    assert FRAMEWORKS == ("vllm", "tgi", "llama.cpp", "transformers")


def test_device_and_batch_size_become_those_of_the_registration(
    home: Home, register: Register
) -> None:
    register("m")
    with serving(home, "m", "--device", "cpu", "--max-batch-size", "8") as running:
        wait_until(lambda: running.get("/health/ready").status == 200)
        model = home.json("show", "m")["model"]
        assert (model["device"], model["batch_size"]) == ("cpu", 8)
    assert b"no device" in home.sire("serve", "m", "--device", "cuda:7", code=3).stderr


def test_a_timeout_is_that_of_requests_that_state_none(
    home: Home, register: Register, gate: Gate
) -> None:
    register("m", 2, "Moody")
    home.sire("load", "m")
    detach(home, "m", "--timeout", "200ms")
    where = address(home, "m")
    status, body = ask(where, "/models/m/predict", [[5, 0, 0, 0]])
    assert (status, body["error"]["code"]) == (504, "DeadlineExceeded")
    gate.open()
    status, body = ask(where, "/models/m/predict?timeout=90s", [[5, 0, 0, 0]])
    assert status == 200


def test_metrics_are_those_of_the_models_that_are_served(home: Home, register: Register) -> None:
    register("m")
    register("other")
    for name in ("m", "other"):
        home.sire("predict", name, "-i", "-", stdin=b"[[1, 2, 3, 4]]")
    with serving(home, "m") as running:
        metrics = running.get("/metrics").body
        assert b'model="m"' in metrics
        assert b'model="other"' not in metrics
