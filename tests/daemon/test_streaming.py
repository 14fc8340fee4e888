"""Streamed answers: parts arrive as they are made, and the model stops when the client leaves."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sire import ModelManager
from sire.errors import InferenceError, WorkerCrashed
from tests.contract.runtime_cases import PROGRAM
from tests.home import Home
from tests.stand_ins.ollama import StandIn
from tests.waiting import wait_until

EXAMPLES = Path(__file__).parents[2] / "examples"
# Goes on to say the next word once there is a file of its number.
SPEAKER = """
import os, time
from pathlib import Path

class Speaker:
    def load(self, path):
        self.said = Path(path).parent / "said"

    def predict(self, data):
        return " ".join(data["words"])

    def stream(self, data):
        for number, word in enumerate(data["words"]):
            if word == "raise":
                raise ValueError("lost for words")
            if word == "die":
                os.abort()
            while word == "wait" and not (self.said.parent / f"go{number}").exists():
                time.sleep(0.005)
            with self.said.open("a") as said:
                said.write(word)
            yield f"{word} "
"""


@pytest.fixture
def speaker(home: Home, tmp_path: Path) -> Path:
    (tmp_path / "speaker.py").write_text(SPEAKER)
    home.register("m", tmp_path / "speaker.py")
    return tmp_path


@pytest.fixture
def manager(home: Home) -> Iterator[ModelManager]:
    with ModelManager(home=home.path) as manager:
        yield manager


def words(*said: str) -> bytes:
    return json.dumps({"words": said}).encode()


def test_a_part_comes_before_the_next_is_made(manager: ModelManager, speaker: Path) -> None:
    parts = manager.stream("m", {"words": ["one", "two", "wait", "three"]})
    assert (next(parts), next(parts)) == ("one ", "two ")
    assert (speaker / "said").read_text() == "onetwo"
    (speaker / "go2").touch()
    assert list(parts) == ["wait ", "three "]


def test_the_command_prints_text_as_it_comes_and_ends_its_line(home: Home, speaker: Path) -> None:
    command = [sys.executable, "-m", "sire_cli", "predict", "m", "-i", "-", "--stream"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=home.environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(words("one", "wait", "two"))
        process.stdin.close()
        assert process.stdout.read(4) == b"one "
        (speaker / "go1").touch()
        assert process.stdout.read() == b"wait two \n"


def test_parts_as_json_have_a_line_each(home: Home, speaker: Path) -> None:
    asked = words("one", "two")
    done = home.sire("predict", "m", "-i", "-", "--stream", "--to", "json", stdin=asked)
    assert done.stdout == b'"one "\n"two "\n'


def test_who_does_not_ask_for_parts_gets_the_whole_answer(home: Home, speaker: Path) -> None:
    done = home.sire("predict", "m", "-i", "-", "--to", "text", stdin=words("one", "two"))
    assert done.stdout == b"one two\n"


def test_a_model_that_answers_at_once_gives_one_part(
    home: Home, manager: ModelManager, register: Callable[..., Any]
) -> None:
    register("x2")
    (answer,) = manager.stream("x2", [[1.0, 2.0, 3.0, 4.0]])
    assert answer.tolist() == [[2, 4, 6, 8]]
    done = home.sire("predict", "x2", "-i", "-", "--stream", "--to", "json", stdin=b"[[1,2,3,4]]")
    assert json.loads(done.stdout) == [[2, 4, 6, 8]]


def test_an_error_on_the_way_comes_after_the_parts_before_it(
    manager: ModelManager, speaker: Path
) -> None:
    parts = manager.stream("m", {"words": ["one", "raise"]})
    assert next(parts) == "one "
    with pytest.raises(InferenceError, match="lost for words"):
        next(parts)


def test_a_crash_on_the_way_is_told_and_the_next_request_is_answered(
    manager: ModelManager, speaker: Path
) -> None:
    with pytest.raises(WorkerCrashed):
        list(manager.stream("m", {"words": ["one", "die"]}))
    assert list(manager.stream("m", {"words": ["two"]})) == ["two "]


def test_a_model_stops_when_nobody_wants_the_rest(
    home: Home, manager: ModelManager, speaker: Path
) -> None:
    parts = manager.stream("m", {"words": ["one", "wait", *["more"] * 100_000]})
    assert next(parts) == "one "
    parts.close()
    (speaker / "go1").touch()
    wait_until(lambda: home.json("ps")[0]["state"] == "ready")
    assert (speaker / "said").read_text().count("more") < 100_000
    assert list(manager.stream("m", {"words": ["again"]})) == ["again "]


def test_requests_that_came_meanwhile_are_answered_after_it(
    manager: ModelManager, speaker: Path
) -> None:
    parts = manager.stream("m", {"words": ["one", "wait"]})
    assert next(parts) == "one "
    waiting = manager.submit_async("m", {"words": ["late"]})
    assert not waiting.done()
    (speaker / "go1").touch()
    assert list(parts) == ["wait "]
    assert waiting.result(90) == "late"


def test_what_cannot_be_streamed_is_refused_before_anything_runs(home: Home, speaker: Path) -> None:
    for options in (("-o", "file"), ("-i", "x"), ("--to", "npy")):
        done = home.sire("predict", "m", "-i", "-", "--stream", *options, code=2)
        assert b"--stream" in done.stderr


def test_events_of_a_program_are_parts_and_their_words_are_text(
    home: Home, manager: ModelManager
) -> None:
    home.register("p", "--cmd", PROGRAM + " {port}", "--health", "/health", "--arg",
        "endpoint=/speak",
    )  # fmt: skip
    asked = b'{"words": ["one", "two"]}'
    done = home.sire("predict", "p", "-i", "-", "--stream", stdin=asked)
    assert done.stdout == b"one two \n"
    done = home.sire("predict", "p", "-i", "-", "--stream", "--to", "json", stdin=asked)
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["choices"][0]["delta"] == {"content": "one "}
    parts = list(manager.stream("p", {"words": ["one", "two"]}))
    assert parts == [first, second]
    with pytest.raises(InferenceError, match="out of breath"):
        list(manager.stream("p", {"words": ["one", "error"]}))


def test_ollama_is_heard_while_it_speaks(home: Home, manager: ModelManager) -> None:
    with contextlib.closing(StandIn()) as server:
        given = ["--arg", "model=llama3.2", "--arg", f"host={server.url}"]
        home.register("llama", "--runtime", "ollama", "--max-memory", "4GiB", *given)
        done = home.sire(
            "predict", "llama", "-i", "-", "--from", "text", "--stream", stdin=b"hello"
        )
        assert done.stdout == b"you said: hello\n"
        assert list(manager.stream("llama", "hello")) == ["you ", "said: ", "hello"]
        assert server.heard[-1][1]["stream"] is True
        home.sire("unload", "llama")


def test_the_example_program_babbles_word_by_word(home: Home, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("the cat saw the cat and the dog saw the cat")
    home.register("babbler", tmp_path / "text", "--health", "/health", "--arg",
        "endpoint=/completion", "--cmd",
        f"{sys.executable} {EXAMPLES}/command/babbler.py {{path}} {{port}}",
    )  # fmt: skip
    asked = b'{"prompt": "the", "n_predict": 6, "seed": 3}'
    whole = json.loads(home.sire("predict", "babbler", "-i", "-", stdin=asked).stdout)
    assert len(whole["content"].split()) == 6
    streamed = home.sire("predict", "babbler", "-i", "-", "--stream", stdin=asked)
    assert streamed.stdout.decode() == whole["content"] + "\n"


@pytest.mark.own_daemon  # it is told by its environment where Ollama is
def test_the_example_for_ollama_asks_a_running_server(home: Home) -> None:
    with contextlib.closing(StandIn()) as server:
        server.library["llama3.2:latest"] = 1 << 20
        (home.path / "sire").write_text(f'#!/bin/sh\nexec {sys.executable} -m sire_cli "$@"\n')
        (home.path / "sire").chmod(0o755)
        path = f"{home.path}:{home.environment['PATH']}"
        done = subprocess.run(
            [EXAMPLES / "ollama/ask.sh", "llama3.2", "Why?"],
            env={**home.environment, "PATH": path, "OLLAMA_HOST": server.url},
            capture_output=True,
            check=True,
        )
        assert done.stdout.startswith(b"you said: Why?\nMODEL")
        home.sire("unload", "ollama-llama3.2")
        assert server.loaded == {}
