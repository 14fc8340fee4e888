"""A very small language model served over HTTP: it remembers two words.

    python babbler.py TEXT PORT

It learns which word follows which two in a text, and then speaks as llama.cpp's server does: POST
``/completion`` with ``{"prompt": "…", "n_predict": 32, "seed": 1, "stream": true}``, or
``/v1/chat/completions`` as OpenAI's clients send it.
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
        """``/completion`` or ``/v1/chat/completions``: the whole answer, or a stream of words."""
        request: dict[str, Any] = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        chats = self.path == "/v1/chat/completions"
        prompt = request["messages"][-1]["content"] if chats else request["prompt"]
        count = int(request.get("max_tokens" if chats else "n_predict") or 32)
        words = babble(self.model, str(prompt), count, int(request.get("seed") or 0))
        laid_out = _chat if chats else _completion
        if not request.get("stream"):
            self._head("application/json")
            self.wfile.write(json.dumps(laid_out("".join(words), stop=True)).encode())
            return
        self._head("text/event-stream")
        for word in words:
            self._send(json.dumps(laid_out(word, stop=False)))
        if chats:
            self._send("[DONE]")

    def _send(self, event: str) -> None:
        self.wfile.write(f"data: {event}\n\n".encode())

    def _head(self, content_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.end_headers()


def _completion(text: str, *, stop: bool) -> dict[str, Any]:
    return {"content": text, "stop": stop}


def _chat(text: str, *, stop: bool) -> dict[str, Any]:
    """An answer, or a part of one, as OpenAI's clients read it."""
    said = {"role": "assistant", "content": text}
    choice = {"index": 0, "message" if stop else "delta": said}
    choice["finish_reason"] = "stop" if stop else None
    kind = "chat.completion" if stop else "chat.completion.chunk"
    return {"id": "babble", "object": kind, "created": 0, "model": "babbler", "choices": [choice]}


if __name__ == "__main__":
    Babbler.model = learn(Path(sys.argv[1]).read_text(encoding="utf-8"))
    print(f"learned {len(Babbler.model)} beginnings", flush=True)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Babbler).serve_forever()
