"""A program that reads its GPU as vLLM does: a number in CUDA_VISIBLE_DEVICES."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

NUMBER = int(os.environ["CUDA_VISIBLE_DEVICES"].split(",")[0])


class Answers(BaseHTTPRequestHandler):
    """Tells the number to each client."""

    def do_GET(self) -> None:
        """Answer the check of health."""
        self._answer()

    def do_POST(self) -> None:
        """Answer a request."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer()

    def _answer(self) -> None:
        body = json.dumps({"number": NUMBER}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


HTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
