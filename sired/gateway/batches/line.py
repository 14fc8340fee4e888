"""One line of a batch: read, answered by the endpoint itself, and written as OpenAI does."""

import asyncio
import uuid
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.types import ASGIApp, Message, Scope

from sire.client.aio.connection import AsyncConnection
from sire.errors import InvalidInput, SireError, error_text, shown
from sired.gateway.batches.job_connection import JobConnection
from sired.gateway.batches.store import Batch, request_id
from sired.gateway.call import Endpoint, Handler
from sired.gateway.errors import code_of
from sired.gateway.generation.generators import Generators
from sired.gateway.openai.completions import Completions
from sired.gateway.openai.embeddings import embed
from sired.gateway.openai.endpoints import error_response
from sired.gateway.programs.by_model import ProgramOr
from sired.gateway.programs.forwarding import Forwarder
from sired.gateway.served import ServedModels

_ERROR = 400


class Line(msgspec.Struct, frozen=True):
    """A request."""

    custom_id: str
    method: str
    url: str
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a line: as a line itself, and whether it goes to the file of errors."""

    text: bytes
    failed: bool


class LineRunner:
    """Answers the lines of one batch.

    Args:
        batch: the batch.
        daemon: runs the jobs.
        forwarder: passes requests on to programs.
    """

    def __init__(self, batch: Batch, daemon: AsyncConnection, forwarder: Forwarder) -> None:
        self._batch = batch
        self._daemon = daemon
        self._forwarder = forwarder
        self._seen: set[str] = set()

    def read(self, content: bytes) -> Line | SireError:
        """A line of the input; all lines have to be read in order.

        Returns:
            The request, or why it is not one.
        """
        try:
            line = msgspec.json.decode(content, type=Line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
            return InvalidInput(f"The line is not a request: {error_text(problem)}.")
        twice = line.custom_id in self._seen
        self._seen.add(line.custom_id)
        if twice:
            return InvalidInput(f"The custom_id {shown(line.custom_id)} was used before.")
        if (line.method, line.url) != ("POST", self._batch.endpoint):
            return InvalidInput(
                f"The line asks for {shown(line.method)} {shown(line.url)}, the batch for POST "
                f"{self._batch.endpoint}."
            )
        if line.body.get("stream"):
            return InvalidInput("Requests of a batch cannot be streamed.")
        return line

    async def run(self, number: int, line: Line | SireError, daemon: JobConnection) -> Answered:
        """The answer to a line."""
        if isinstance(line, SireError):
            return self.failed(number, line, None)
        status, content = await _answer(self._endpoint(daemon), line)
        try:
            body = msgspec.json.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError):  # of a program
            body = content.decode(errors="replace")
        response = {"status_code": status, "request_id": uuid.uuid4().hex, "body": body}
        return self._answered(number, line.custom_id, response, None, failed=status >= _ERROR)

    def failed(self, number: int, error: SireError, custom_id: str | None) -> Answered:
        """The answer to a line that was not run."""
        described = {"code": code_of(error), "message": str(error)}
        return self._answered(number, custom_id, None, described, failed=True)

    def _answered(
        self,
        number: int,
        custom_id: str | None,
        response: dict[str, Any] | None,
        error: dict[str, str] | None,
        *,
        failed: bool,
    ) -> Answered:
        name = request_id(self._batch.id, number)
        line = {"id": name, "custom_id": custom_id, "response": response, "error": error}
        return Answered(msgspec.json.encode(line) + b"\n", failed)

    def _endpoint(self, daemon: JobConnection) -> Endpoint:
        """The endpoint that answers such requests from anybody, with jobs for predictions."""
        completions = Completions(Generators(daemon, self._forwarder))
        handlers: dict[str, Handler] = {
            "/v1/chat/completions": completions.chat,
            "/v1/completions": completions.complete,
            "/v1/embeddings": embed,
        }
        models = ServedModels(daemon, self._batch.models)
        handle = ProgramOr(self._forwarder, handlers[self._batch.endpoint])
        return Endpoint(models, handle, error_response)


async def _answer(endpoint: ASGIApp, line: Line) -> tuple[int, bytes]:
    """The status and the body of the response to a request."""
    scope: Scope = {
        "type": "http",
        "method": line.method,
        "path": line.url,
        "raw_path": line.url.encode(),
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    content = msgspec.json.encode(line.body)
    requests: list[Message] = [{"type": "http.request", "body": content, "more_body": False}]
    status, chunks = 0, []

    async def receive() -> Message:
        if requests:
            return requests.pop()
        await asyncio.Event().wait()  # it never leaves
        raise AssertionError

    async def send(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        chunks.append(message.get("body", b""))

    await endpoint(scope, receive, send)
    return status, b"".join(chunks)
