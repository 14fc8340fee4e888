"""A program that serves the model ``2 * x`` over HTTP, for float32[N, 4] and anything it is told.

    python program.py PORT [FILE]

FILE holds the factor. What is posted to / is multiplied; what is posted to /do is done.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

FACTOR = json.loads(Path(sys.argv[2]).read_text())["factor"] if len(sys.argv) > 2 else 2
STARTED = time.monotonic()
READY_AFTER = float(os.environ.get("READY_AFTER", "0"))
HELD: list[bytes] = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections = 0

    def setup(self) -> None:
        super().setup()
        Handler.connections += 1

    def log_message(self, *_: Any) -> None:
        pass

    def answer(self, status: Any, content: Any, kind: str = "application/json") -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        ready = self.path == "/health" and time.monotonic() - STARTED >= READY_AFTER
        self.answer(200 if ready else 503, {"ready": ready})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/echo":
            self.answer(200, body, self.headers["Content-Type"])
        elif self.path == "/speak":
            self.speak(json.loads(body))
        elif self.path == "/do":
            self.do(json.loads(body))
        else:
            self.multiply(json.loads(body))

    def speak(self, request: Any) -> None:
        assert request["stream"] is True
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for word in request["words"]:
            event: dict[str, object] = {"choices": [{"index": 0, "delta": {"content": f"{word} "}}]}
            if word == "error":
                event = {"error": {"message": "out of breath"}}
            self.chunk(f": a comment\ndata: {json.dumps(event)}\n\n")
        self.chunk("data: [DONE]\n\n")
        self.chunk("")

    def chunk(self, text: Any) -> None:
        body = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(body), body))

    def multiply(self, given: Any) -> None:
        rows = given["x"] if isinstance(given, dict) else given
        if len(rows) == 1 and isinstance(rows[0][0], list):  # inputs in order: the first
            rows = rows[0]
        if any(len(row) != 4 for row in rows):
            self.answer(422, {"error": {"message": "rows have four numbers", "code": 422}})
        else:
            self.answer(200, [[FACTOR * number for number in row] for row in rows])

    def do(self, request: Any) -> None:
        what = request.get("do")
        if what == "die":
            print("goodbye, cruel world", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        elif what == "hang up":
            self.close_connection = True
        elif what == "allocate":
            HELD.append(os.urandom(request["bytes"]))
            self.answer(200, {"held": sum(map(len, HELD))})
        elif what == "fail":
            self.answer(request["status"], {"detail": request["says"]})
        elif what == "start":
            child = subprocess.Popen(["sleep", "1000"])
            self.answer(200, {"pid": child.pid})
        elif what == "wait":
            time.sleep(request["seconds"])
            self.answer(200, {"waited": request["seconds"]})
        elif what == "text":
            self.answer(200, b"just words\n", "text/plain; charset=utf-8")
        else:
            facts = {"pid": os.getpid(), "connections": Handler.connections, "argv": sys.argv[1:]}
            environment = {name: os.environ.get(name) for name in request.get("env", ())}
            self.answer(200, {**facts, "env": environment, "directory": os.getcwd()})


def stop(*_: Any) -> None:
    if file := os.environ.get("LAST_WORDS"):
        Path(file).write_text("ended in order")
    os._exit(0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    if os.environ.get("NEVER_SERVES"):
        threading.Event().wait()
    print(f"serving on {sys.argv[1]}", flush=True)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
