"""A very small language model served over HTTP: it remembers two words.

    python babbler.py TEXT PORT

It learns which word follows which two in a text, and then speaks llama.cpp's dialect: POST
``/completion`` with ``{"prompt": "…", "n_predict": 32, "seed": 1, "stream": true}``.
"""

import json
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Model = dict[tuple[str, ...], list[str]]


def learn(text: str) -> Model:
    """Return the words that follow each word, and each pair of words, of a text."""
    words, model = text.split(), defaultdict(list)
    for place in range(1, len(words)):
        model[(words[place - 1],)].append(words[place])
        if place > 1:
            model[(words[place - 2], words[place - 1])].append(words[place])
    return dict(model)


def babble(model: Model, prompt: str, count: int, seed: int) -> Iterator[str]:
    """Yield words that could follow a prompt."""
    said, chance = prompt.split(), random.Random(seed)
    for _ in range(count):
        following = model.get(tuple(said[-2:])) or model.get(tuple(said[-1:]))
        if not following:
            return
        said.append(chance.choice(following))
        yield f" {said[-1]}"


class Babbler(BaseHTTPRequestHandler):
    """Answers requests from ``model``."""

    model: Model

    def do_GET(self) -> None:
        """``/health``: always healthy, because the model is learned before the server starts."""
        self._head("application/json")
        self.wfile.write(b'{"status": "ok"}')

    def do_POST(self) -> None:
        """``/completion``: the whole answer, or a stream of words."""
        request: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        count, seed = int(request.get("n_predict", 32)), int(request.get("seed", 0))
        words = babble(self.model, str(request["prompt"]), count, seed)
        if not request.get("stream"):
            self._head("application/json")
            self.wfile.write(json.dumps({"content": "".join(words), "stop": True}).encode())
            return
        self._head("text/event-stream")
        for word in words:
            event = json.dumps({"content": word, "stop": False})
            self.wfile.write(f"data: {event}\n\n".encode())

    def _head(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()


if __name__ == "__main__":
    Babbler.model = learn(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(f"learned {len(Babbler.model)} beginnings", flush=True)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Babbler).serve_forever()
