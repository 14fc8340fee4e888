"""A program that speaks OpenAI's API, for tests of what is passed on to it.

    python chat_program.py PORT DIRECTORY [held]

With "held" it does not listen before there is a file DIRECTORY/loaded.
Each request is written to DIRECTORY/request: its line, its headers and its body. A chat is answered
with the words of its last message, one event each. After the word "wait" the file DIRECTORY/go is
awaited; "die" ends the process; what happened to the connection while waiting is in DIRECTORY/seen.
"""

import json
import os
import signal
import socket
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DIRECTORY = Path(sys.argv[2])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self.respond(200, b'{"here": "%b"}' % self.path.encode(), "application/json")

    def do_DELETE(self) -> None:
        self.respond(405, b"no", "text/plain")

    def do_POST(self) -> None:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            self.answer_each_piece()
            return
        body = self.rfile.read(int(self.headers["Content-Length"]))
        lines = [self.requestline, *(f"{name}: {value}" for name, value in self.headers.items())]
        (DIRECTORY / "request").write_bytes("\n".join(lines).encode() + b"\n\n" + body)
        if self.path == "/hang-up":
            self.close_connection = True
        elif self.path == "/v1/chat/completions":
            self.chat(json.loads(body))
        else:
            self.respond(201, body, self.headers["Content-Type"] or "none")

    def answer_each_piece(self) -> None:
        """Send each piece of the body back as soon as it is here."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while True:
            size = int(self.rfile.readline(), 16)
            piece = self.rfile.read(size)
            self.rfile.readline()
            self.wfile.write(b"%x\r\n%b\r\n" % (size, piece))
            if not size:
                return

    def respond(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("X-Program", "chat")
        self.send_header("Set-Cookie", "a=1")
        self.send_header("Set-Cookie", "b=2")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def chat(self, wanted: dict[str, Any]) -> None:
        words = wanted["messages"][-1]["content"].split()
        base = {"id": "1", "created": 1, "model": "real-name"}
        if not wanted.get("stream"):
            message = {"role": "assistant", "content": " ".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            whole = {**base, "object": "chat.completion", "choices": [choice]}
            self.respond(200, json.dumps(whole).encode(), "application/json")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for word in words:
            if word == "wait":
                self.wait()
            elif word == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            choice = {"index": 0, "delta": {"content": f"{word} "}, "finish_reason": None}
            event = {**base, "object": "chat.completion.chunk", "choices": [choice]}
            self.chunk(b"data: %b\n\n" % json.dumps(event).encode())
        self.chunk(b"data: [DONE]\n\n")
        self.chunk(b"")

    def wait(self) -> None:
        self.connection.settimeout(0.01)
        while not (DIRECTORY / "go").exists():
            try:
                if self.connection.recv(1, socket.MSG_PEEK) == b"":
                    (DIRECTORY / "seen").write_text("the client has left")
                    sys.exit()  # of this thread
            except TimeoutError:
                time.sleep(0.01)
        self.connection.settimeout(None)

    def chunk(self, body: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(body), body))


if "held" in sys.argv[3:]:
    while not (DIRECTORY / "loaded").exists():
        time.sleep(0.01)
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
