"""A pass whose answer is not wanted any more is cut short where the runtime can."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sire import ModelManager
from sire.errors import DeadlineExceeded
from tests.home import Home
from tests.waiting import wait_until

PROGRAM = """
import json, socket, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(b"{}")

    def do_POST(self):
        given = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if given == "generate":
            Path("begun").touch()
            assert self.connection.recv(1) == b""  # the client has closed the connection
            Path("cut").touch()
            self.close_connection = True
        else:
            self.answer(json.dumps(given).encode())

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def program(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that generates until its client leaves, in ``tmp_path``."""
    (tmp_path / "program.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    home.register("m", "--cmd", f"{sys.executable} program.py {{port}}")
    home.sire("load", "m")
    return tmp_path


def test_a_request_that_times_out_ends_in_the_program_too(home: Home, program: Path) -> None:
    def has_begun() -> bool:
        home.sire("predict", "m", "-i", "-", "--timeout", "1s", stdin=b'"generate"', code=7)
        return (program / "begun").exists()

    wait_until(has_begun)  # on a busy machine the time may be over before that
    wait_until((program / "cut").exists)
    assert home.sire("predict", "m", "-i", "-", stdin=b'"next"').stdout == b'"next"\n'


def test_a_request_of_a_killed_client_ends_in_the_program_too(home: Home, program: Path) -> None:
    client = subprocess.Popen(
        [sys.executable, "-m", "sire_cli", "predict", "m", "-i", "-"],
        env=home.environment,
        stdin=subprocess.PIPE,
    )
    assert client.stdin is not None
    client.stdin.write(b'"generate"')
    client.stdin.close()
    wait_until((program / "begun").exists)
    client.send_signal(signal.SIGKILL)
    client.wait()
    wait_until((program / "cut").exists)
    assert home.sire("predict", "m", "-i", "-", stdin=b'"next"').stdout == b'"next"\n'


@pytest.fixture
def writer(home: Home, tmp_path: Path) -> Callable[[], str]:
    """A model that writes for minutes, if it is not stopped; returns a function for its state."""
    transformers = pytest.importorskip("transformers", reason="sire[hf] is not installed")
    from tests.contract import tiny_models

    size = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 100_000}
    config = transformers.GPT2Config(vocab_size=15, pad_token_id=0, eos_token_id=3, **size)
    model = transformers.GPT2LMHeadModel(config)
    tiny_models.save(tmp_path / "m", model, tiny_models.tokenizer())
    tokens = ("--arg", "max_new_tokens=60000", "--arg", "min_new_tokens=60000")
    home.register("m", tmp_path / "m", *tokens)
    home.sire("load", "m")
    return lambda: home.json("ps")[0]["state"]


@pytest.mark.parametrize("how", [(), ("--stream",)])
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_text_generation_stops_when_its_client_ends(
    home: Home, writer: Callable[[], str], how: tuple[str, ...], ending: signal.Signals
) -> None:
    pid = home.json("ps")[0]["pid"]
    with subprocess.Popen(
        [sys.executable, "-m", "sire_cli", "predict", "m", "-i", "-", *how],
        env=home.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as client:
        assert client.stdin is not None
        client.stdin.write(b"some text")
        client.stdin.close()
        wait_until(lambda: writer() == "busy")
        client.send_signal(ending)
    wait_until(lambda: writer() == "ready")
    assert home.json("ps")[0]["pid"] == pid


def test_text_generation_stops_when_a_direct_client_gives_up(
    home: Home, writer: Callable[[], str]
) -> None:
    with ModelManager(home=home.path) as manager:
        for _ in range(3):
            manager.predict("m", {"text": "some text", "max_new_tokens": 1})
        with pytest.raises(DeadlineExceeded):
            manager.predict("m", "some text", timeout=1)
        wait_until(lambda: writer() == "ready")
