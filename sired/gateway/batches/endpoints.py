"""``/v1/files`` and ``/v1/batches``, as OpenAI's clients speak them."""

import asyncio
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from starlette.datastructures import UploadFile
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from sire.errors import InvalidInput, QueueFull, SireError, shown
from sired.gateway.batches.runner import BatchRunner, refuse_if_used
from sired.gateway.batches.store import Batch, Endpoint
from sired.gateway.call import Call, Handler
from sired.gateway.call import Endpoint as HttpEndpoint
from sired.gateway.describe import describe
from sired.gateway.errors import HttpError, json_response
from sired.gateway.fields import Accepted, read_fields
from sired.gateway.openai.endpoints import error_response
from sired.gateway.served import ServedModels

MOST_LINES = 50_000
MOST_UNFINISHED = 100
_MOST_METADATA = 16
_DAY_SECONDS = 24 * 3600
_MOST_LISTED, _LISTED = 10_000, 20
_PURPOSE = "batch"
_Kept = TypeVar("_Kept")


class BatchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The body of ``POST /v1/batches``."""

    input_file_id: str
    endpoint: Endpoint
    completion_window: Literal["24h"]
    metadata: dict[str, str] | None = None


def routes(models: ServedModels, runner: BatchRunner) -> list[BaseRoute]:
    """The paths."""
    files, batches = FileEndpoints(runner), BatchEndpoints(runner)
    paths: list[tuple[str, str, Handler]] = [
        ("POST", "/v1/files", files.upload),
        ("GET", "/v1/files", files.list),
        ("GET", "/v1/files/{file}", files.show),
        ("GET", "/v1/files/{file}/content", files.content),
        ("DELETE", "/v1/files/{file}", files.delete),
        ("POST", "/v1/batches", batches.create),
        ("GET", "/v1/batches", batches.list),
        ("GET", "/v1/batches/{batch}", batches.show),
        ("POST", "/v1/batches/{batch}/cancel", batches.cancel),
    ]
    return [
        Route(path, HttpEndpoint(models, handle, error_response), methods=[method])
        for method, path, handle in paths
    ]


class FileEndpoints:
    """Files, of which a key sees those that it has made."""

    def __init__(self, runner: BatchRunner) -> None:
        self._runner = runner
        self._files = runner.files

    @describe()
    async def upload(self, call: Call) -> Response:
        """Store a file of requests, a line each.

        Raises:
            InvalidInput: the form or its purpose is not valid, or there are too many files.
        """
        if not call.is_form:
            raise InvalidInput("The body is not a form (multipart/form-data).")
        form = await call.form()
        file, purpose = form.get("file"), form.get("purpose")
        if not isinstance(file, UploadFile):
            raise InvalidInput("The form has no file.", param="file")
        if purpose != _PURPOSE:
            raise InvalidInput(
                f"The purpose {shown(purpose)} is not supported.",
                hint="Use batch.",
                param="purpose",
            )
        content, name = await file.read(), file.filename or "requests.jsonl"
        stored = await asyncio.to_thread(self._files.add, content, name, _PURPOSE, _owner(call))
        return json_response(stored.described())

    @describe(query=("after", "limit", "order", "purpose"))
    async def list(self, call: Call) -> Response:
        """All files, the latest first."""
        purpose = call.request.query_params.get("purpose")
        known = [
            one
            for one in await asyncio.to_thread(self._files.all)
            if _visible(call, one.owner) and purpose in {None, one.purpose}
        ]
        page, more = _page(call, known, lambda one: one.id)
        return json_response(_listed([one.described() for one in page], has_more=more))

    @describe()
    async def show(self, call: Call) -> Response:
        """One file."""
        return json_response(self._find(call).described())

    @describe()
    async def content(self, call: Call) -> Response:
        """The content of a file."""
        path = self._files.content_of(self._find(call).id)
        return FileResponse(path, media_type="application/jsonl")

    @describe()
    async def delete(self, call: Call) -> Response:
        """Delete a file.

        Raises:
            HttpError: there is none of this id, or a batch still reads it.
        """
        found = self._find(call)
        refuse_if_used(self._runner, found.id)
        await asyncio.to_thread(self._files.delete, found.id)
        return json_response({"id": found.id, "object": "file", "deleted": True})

    def _find(self, call: Call) -> Any:
        found = self._files.get(call.request.path_params["file"])
        if not _visible(call, found.owner):
            raise HttpError(404, f"There is no file {shown(found.id)}.")
        return found


class BatchEndpoints:
    """Batches, of which a key sees those that it has made."""

    def __init__(self, runner: BatchRunner) -> None:
        self._runner = runner

    @describe(BatchRequest)
    async def create(self, call: Call) -> Response:
        """Answer the requests of a file, beside those that wait for their answers.

        Raises:
            InvalidInput: the body is not valid, or the file has no requests or too many.
            HttpError: there is no such file.
            QueueFull: too many batches are unfinished.
        """
        wanted = read_fields(call.json(), BatchRequest, Accepted())
        if len(wanted.metadata or {}) > _MOST_METADATA:
            raise InvalidInput(f"metadata has more than {_MOST_METADATA} pairs.", param="metadata")
        file = self._runner.files.get(wanted.input_file_id)
        if not _visible(call, file.owner) or file.purpose != _PURPOSE:
            raise HttpError(404, f"There is no file {shown(file.id)} of the purpose batch.")
        total = await asyncio.to_thread(_count, self._runner.files.content_of(file.id))
        if not 1 <= total <= MOST_LINES:
            raise InvalidInput(
                f"{file.id} has {total} requests; a batch has 1 to {MOST_LINES}.",
                param="input_file_id",
            )
        unfinished = sum(
            one.unfinished for one in await asyncio.to_thread(self._runner.batches.all)
        )
        if unfinished >= MOST_UNFINISHED:
            raise QueueFull(f"{unfinished} batches are unfinished; the limit is {MOST_UNFINISHED}.")
        batch = _made(wanted, total, call)
        try:
            await asyncio.to_thread(self._runner.batches.put, batch)
        except OSError as problem:
            raise SireError(f"The batch cannot be stored: {problem.strerror}.") from None
        self._runner.run(batch)
        return await self._response(batch)

    @describe(query=("after", "limit"))
    async def list(self, call: Call) -> Response:
        """All batches, the latest first."""
        known = [
            one
            for one in await asyncio.to_thread(self._runner.batches.all)
            if _visible(call, one.owner)
        ]
        page, more = _page(call, known, lambda one: one.id)
        described = [one.described(await self._runner.counts(one)) for one in page]
        return json_response(_listed(described, has_more=more))

    @describe()
    async def show(self, call: Call) -> Response:
        """One batch, and how far it is."""
        batch = self._find(call)
        if batch.unfinished:
            self._runner.run(batch)  # unless it runs: then its gateway has been killed
        return await self._response(batch)

    @describe()
    async def cancel(self, call: Call) -> Response:
        """Cancel a batch; what has been answered is kept.

        Raises:
            HttpError: there is none of this id, or it has ended.
        """
        name = self._find(call).id

        def cancelled(one: Batch) -> Batch:
            if not one.unfinished:
                raise HttpError(409, f"{one.id} has ended: it is {one.status}.")
            times = {"cancelling": int(time.time()), **one.times}
            return msgspec.structs.replace(one, status="cancelling", times=times)

        batch = await asyncio.to_thread(self._runner.batches.update, name, cancelled)
        self._runner.run(batch)
        return await self._response(batch)

    def _find(self, call: Call) -> Batch:
        found = self._runner.batches.get(call.request.path_params["batch"])
        if not _visible(call, found.owner):
            raise HttpError(404, f"There is no batch {shown(found.id)}.")
        return found

    async def _response(self, batch: Batch) -> Response:
        return json_response(batch.described(await self._runner.counts(batch)))


def _made(wanted: BatchRequest, total: int, call: Call) -> Batch:
    now = int(time.time())
    return Batch(
        id=f"batch_{uuid.uuid4().hex}",
        endpoint=wanted.endpoint,
        input_file_id=wanted.input_file_id,
        created_at=now,
        expires_at=now + _DAY_SECONDS,
        total=total,
        metadata=wanted.metadata,
        times={"in_progress": now},
        owner=_owner(call),
        models=call.models.names,
    )


def _count(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for line in file if line.strip())


def _owner(call: Call) -> str:
    return "" if call.key is None else call.key.name


def _visible(call: Call, owner: str) -> bool:
    return call.key is None or call.key.name == owner


def _page(
    call: Call, known: Sequence[_Kept], id_of: Callable[[_Kept], str]
) -> tuple[Sequence[_Kept], bool]:
    """Those after the one that a query names, and whether more follow.

    Raises:
        InvalidInput: the limit is not a number, or what it names is not known.
    """
    query = call.request.query_params
    if query.get("order") == "asc":
        known = known[::-1]
    limit = query.get("limit", str(_LISTED))
    if not limit.isdecimal() or not 1 <= int(limit[:9]) <= _MOST_LISTED:
        raise InvalidInput(f"limit is {shown(limit)}; it is 1 to {_MOST_LISTED}.", param="limit")
    first = 0
    if after := query.get("after"):
        ids = [id_of(one) for one in known]
        if after not in ids:
            raise InvalidInput(f"There is no {shown(after)}.", param="after")
        first = ids.index(after) + 1
    last = first + int(limit)
    return known[first:last], last < len(known)


def _listed(data: list[dict[str, Any]], *, has_more: bool) -> dict[str, Any]:
    ends = {"first_id": data[0]["id"], "last_id": data[-1]["id"]} if data else {}
    return {"object": "list", "data": data, "has_more": has_more, **ends}
