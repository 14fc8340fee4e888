"""llama.cpp's own server, as a program that sire starts, measures, asks and ends."""

import json
import subprocess
from pathlib import Path

import psutil
import pytest

from sire import ModelManager
from tests.home import Home

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-llama/bin/python"

pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="llama.cpp's server is not built here: make llama"
)


@pytest.fixture(scope="module")
def alphabet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model that knows the alphabet."""
    path = tmp_path_factory.mktemp("gguf") / "alphabet.gguf"
    subprocess.run([PYTHON, Path(__file__).with_name("tiny_gguf.py"), path], check=True)
    return path


@pytest.fixture
def llama(home: Home, alphabet: Path, new_name: str) -> str:
    """The model, registered as anybody would."""
    cmd = f"{PYTHON} -m llama_cpp.server --model {{path}} --host 127.0.0.1 --port {{port}}"
    options = "--health", "/v1/models", "--arg", "endpoint=/v1/completions"
    home.register(new_name, alphabet, "--cmd", cmd, *options)
    return new_name


def test_it_is_started_and_asked_and_goes_with_its_model(home: Home, llama: str) -> None:
    request = json.dumps({"prompt": "abc", "max_tokens": 5, "temperature": 0}).encode()
    said = json.loads(home.sire("predict", llama, "-i", "-", stdin=request).stdout)
    assert said["choices"][0]["text"] == "defgh"
    (instance,) = [one for one in home.json("ps") if one["model"] == llama]
    (server,) = psutil.Process(instance["pid"]).children()
    # Python and llama.cpp's libraries are what there is to measure: the model has some kilobytes.
    assert instance["memory_bytes"] > 16 << 20
    home.sire("unload", llama)
    assert not server.is_running()


def test_its_tokens_come_as_they_are_made(home: Home, llama: str) -> None:
    request = {"prompt": "lm", "max_tokens": 4, "temperature": 0, "stream": True}
    with ModelManager(home=home.path) as manager:
        parts = list(manager.stream(llama, request))
    texts = [part["choices"][0]["text"] for part in parts if isinstance(part, dict)]
    assert "".join(texts) == "nopq"
    assert len(texts) >= 4


def test_what_it_refuses_is_told_and_harms_nothing(home: Home, llama: str) -> None:
    bad = json.dumps({"prompt": "abc", "max_tokens": -7}).encode()
    said = home.sire("predict", llama, "-i", "-", stdin=bad, code=5).stderr.decode()
    assert "max_tokens" in said
    good = json.dumps({"prompt": "vw", "max_tokens": 3, "temperature": 0}).encode()
    answer = json.loads(home.sire("predict", llama, "-i", "-", stdin=good).stdout)
    assert answer["choices"][0]["text"] == "xyz"
