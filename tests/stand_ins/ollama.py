"""A stand-in for an Ollama server: answers as one was recorded to, about made-up models."""

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GIB = 1 << 30
DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "3.2B",
    "quantization_level": "Q4_K_M",
}


class StandIn:
    """Serves until it is closed.

    Attributes:
        library: sizes on disk by name; a model takes half as much again once it is loaded.
        loaded: what is loaded, by name, with its latest keep_alive.
        heard: every body that was posted, with its path.
        refuses: what loading answers instead, a status and an error.
        most_at_once: how many requests it was at together at most.
        meet: the number of prompts that must be under way before any is answered.
    """

    def __init__(self) -> None:
        self.library = {"llama3.2:latest": 2 * GIB, "mistral:7b": 4 * GIB}
        self.loaded: dict[str, Any] = {}
        self.heard: list[tuple[str, Any]] = []
        self.refuses: tuple[int, Any] | None = None
        self.meet = 0
        self.closed = False
        self.at_once = self.most_at_once = 0
        self._changed = threading.Condition()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.closed = True
        self._server.shutdown()
        self._server.server_close()

    def get(self, path: str) -> tuple[int, Any]:
        if path == "/api/tags":
            return 200, {
                "models": [self._listed(name, size) for name, size in self.library.items()]
            }
        if path == "/api/ps":
            models = []
            for name in self.loaded:
                size = self.library[name] * 3 // 2
                models.append({**self._listed(name, size), "size_vram": size // 2})
            return 200, {"models": models}
        return 404, {}

    def _listed(self, name: str, size: int) -> dict[str, Any]:
        digest = f"{abs(hash(name)):064x}"[:64]
        common = {"name": name, "model": name, "size": size, "digest": digest}
        return {**common, "details": DETAILS, "modified_at": "2024-08-27T10:12:50.2-07:00"}

    def post(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        with self._changed:
            self.heard.append((path, body))
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self._changed.notify_all()
            if body.get("prompt") and self.meet:
                assert self._changed.wait_for(lambda: self.most_at_once >= self.meet, 90)
                self._changed.wait(0.05)  # time for one too many to come
            self.at_once -= 1
            return self._answer(path, body)

    def _answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        name = body["model"] if ":" in body["model"] else f"{body['model']}:latest"
        if name not in self.library:
            return 404, {"error": f"model '{body['model']}' not found"}
        if self.refuses:
            return self.refuses
        answer = {"model": body["model"], "created_at": "2024-08-04T19:22:45.499127Z", "done": True}
        if body["keep_alive"] == 0:
            self.loaded.pop(name, None)
            return 200, {**answer, "response": "", "done_reason": "unload"}
        self.loaded[name] = body["keep_alive"]
        if path == "/api/embed":
            return 200, {"model": body["model"], "embeddings": [[0.5, 0.25] for _ in body["input"]]}
        if path == "/api/chat":
            message = {"role": "assistant", "content": f"chat: {body['messages'][-1]['content']}"}
            return 200, {**answer, "message": message, "done_reason": "stop"}
        if not body.get("prompt"):
            return 200, {**answer, "response": "", "done_reason": "load"}
        said = f"you said: {body['prompt']}"
        end = {**answer, "response": said, "done_reason": "stop"}
        if body.get("stream"):
            parts = [{**answer, "response": word, "done": False} for word in _words(said)]
            return 200, [*parts, {**end, "response": ""}]
        return 200, end

    def _handler(stand_in) -> type[Any]:  # noqa: N805 (inside, self is a connection)
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: str) -> None:
                pass

            def do_GET(self) -> None:
                self.answer(*stand_in.get(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.close_connection = stand_in.closed
                if not stand_in.closed:
                    self.answer(*stand_in.post(self.path, json.loads(body)))

            def answer(self, status: int, content: Any) -> None:
                kind, body = "application/json; charset=utf-8", json.dumps(content).encode()
                if isinstance(content, list):
                    kind = "application/x-ndjson"
                    body = b"".join(json.dumps(line).encode() + b"\n" for line in content)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        return Handler


def _words(text: str) -> list[str]:
    return re.findall(r"\S+\s*", text)
