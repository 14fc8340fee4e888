"""Requests of every dialect to two models that are loaded once the test lets them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gateway.serving import Answer, Serving
from tests.home import Home

PROGRAM = Path(__file__).with_name("chat_program.py")
MESSAGES = [{"role": "user", "content": "hello"}]
CLASS = """
import time
from pathlib import Path


class Held:
    def load(self, path):
        while not Path({loaded!r}).exists():
            time.sleep(0.01)

    def predict(self, data):
        return data
"""


@dataclass(frozen=True)
class Dialect:
    """One way to ask a model for something, and the type of its errors."""

    name: str
    model: str
    path: str
    body: Any
    error: type[str] | type[dict[str, Any]]
    headers: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def ask(self, serving: Serving) -> Answer:
        return serving.post(self.path, self.body, **self.headers)

    def message(self, answer: Answer) -> str:
        """What an error says, in the form that the dialect's clients read."""
        error = answer.json()["error"]
        said: str = error["message"] if self.error is dict else error
        assert type(error) is self.error
        if self.name.startswith("anthropic"):
            assert answer.json()["type"] == "error"
        return said


def _chat(name: str, path: str, error: type[str] | type[dict[str, Any]], **more: Any) -> Dialect:
    return Dialect(name, "chat", path, {"model": "chat", "messages": MESSAGES, **more}, error)


_TENSOR = {"name": "x", "shape": [2], "datatype": "INT32", "data": [4, 5]}
DIALECTS = (
    Dialect("plain", "rows", "/models/rows/predict", [[1, 2]], dict),
    Dialect("events", "rows", "/models/rows/predict", [1], dict, {"accept": "text/event-stream"}),
    Dialect("v2", "rows", "/v2/models/rows/infer", {"inputs": [_TENSOR]}, str),
    _chat("openai", "/v1/chat/completions", dict),
    _chat("openai stream", "/v1/chat/completions", dict, stream=True),
    _chat("anthropic", "/v1/messages", dict, max_tokens=5),
    _chat("ollama", "/api/chat", str, stream=False),
    _chat("ollama stream", "/api/chat", str),
    Dialect("upstream", "chat", "/upstream/chat/x", "hello", dict),
)


@dataclass
class Hold:
    """Keeps the two models from being loaded."""

    folder: Path

    def let_go(self) -> None:
        """Let them be loaded from now on."""
        (self.folder / "loaded").touch()

    @contextmanager
    def models(self, home: Home) -> Iterator[None]:
        """Register chat, a program, and rows, a class."""
        program = f"{sys.executable} {PROGRAM} {{port}} {self.folder} held"
        home.register("chat", "--cmd", program)
        code = self.folder / "held.py"
        code.write_text(CLASS.format(loaded=str(self.folder / "loaded")))
        home.register("rows", code)
        try:
            yield
        finally:
            self.let_go()
