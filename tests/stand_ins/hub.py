"""As much of the Hugging Face hub as downloading one small model takes."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

COMMIT = hashlib.sha1(b"a commit").hexdigest()


@contextmanager
def hub(files: dict[str, bytes]) -> Iterator[str]:
    """Serve files (name: bytes) as the one commit of every model; yields the address."""

    class Hub(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def listing(self) -> Any:
            """The files of a model, or the model with their names."""
            if "/tree/" in self.path:
                return [
                    {"type": "file", "path": name, "size": len(file), "oid": etag(file)}
                    for name, file in files.items()
                ]
            named = [{"rfilename": name} for name in files]
            return {"id": "some/model", "sha": COMMIT, "siblings": named}

        def answer(self, body: bool) -> None:
            content: bytes | None
            if self.path.startswith("/api/models/"):
                content = json.dumps(self.listing()).encode()
            else:
                content = files.get(self.path.rpartition("/")[2].partition("?")[0])
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{etag(content)}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(content)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def etag(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()
