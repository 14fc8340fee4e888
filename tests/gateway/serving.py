"""A gateway of its own process, as `sire serve` starts it, and requests to it."""

import http.client
import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.home import Home
from tests.waiting import DEADLINE_SECONDS


@dataclass
class Answer:
    """A response to a request."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json()["error"]
        return error


@dataclass
class Serving:
    """A running gateway, the home of its daemon, and what it printed when it was ready."""

    home: Home
    process: "subprocess.Popen[str]"
    summary: str
    port: int = field(init=False)

    def __post_init__(self) -> None:
        found = re.search(r"://[0-9.]+:(\d+)", self.summary)
        assert found is not None, self.summary
        self.port = int(found[1])

    @property
    def authority(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def grpc(self) -> str:
        """The address for gRPC, which it was asked to serve as well."""
        found = re.search(r"grpc://(\S+\d)", self.summary)
        assert found is not None, self.summary
        return found[1]

    @property
    def url(self) -> str:
        return f"http://{self.authority}"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)

    def ask(
        self, method: str, path: str, body: bytes | str = b"", headers: Mapping[str, str] = {}
    ) -> Answer:
        """Send one request on a connection of its own, and read the response."""
        connection = self.connect()
        try:
            connection.request(method, path, body or None, dict(headers))
            response = connection.getresponse()
            received = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, received, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=_named(headers))

    def post(
        self, path: str, body: bytes | str | dict[str, Any] | list[Any], **headers: str
    ) -> Answer:
        content = body if isinstance(body, bytes | str) else json.dumps(body)
        return self.ask("POST", path, content, _named(headers))


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    """Headers given as keywords: content_type is content-type."""
    return {name.replace("_", "-"): value for name, value in headers.items()}


@contextmanager
def serving(
    home: Home, *arguments: str, host: str = "127.0.0.1", port: int = 0
) -> Iterator[Serving]:
    """Run `sire serve` on a port, a free one by default, until the block ends."""
    command = [sys.executable, "-m", "sire_cli", "serve", "--listen", f"{host}:{port}", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=home.environment
    ) as process:
        assert process.stdout is not None
        summary = process.stdout.readline()
        try:
            assert summary, "it has printed nothing"
            yield Serving(home, process, summary)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_SECONDS)
