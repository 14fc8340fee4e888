"""``POST /models/NAME/predict``: bodies and answers of any content type."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec
from starlette.datastructures import QueryParams
from starlette.responses import Response, StreamingResponse

from sire.errors import InvalidInput, SireError, shown
from sire.nearest import did_you_mean
from sire.options.kinds import parse_keep_alive
from sire.protocol import content
from sire.protocol.replies import Part, Prediction
from sire.protocol.requests import Predict
from sire.spec import PRIORITIES, Priority
from sire.units import parse_duration
from sired.gateway.accept import EVENTS, LINES, answer_type
from sired.gateway.call import Call
from sired.gateway.describe import describe
from sired.gateway.streams import started

_PARAMETERS = ("timeout", "priority", "keep_alive")
# What curl and forms send unless they are told a type.
_UNSTATED = frozenset({"", "application/x-www-form-urlencoded"})
_SEVERAL_FRAMES = frozenset({content.TENSORS, content.TREE, content.PARTS})


@describe(bytes, bytes, query=_PARAMETERS)
async def predict(call: Call) -> Response:
    """Run a model on the body.

    Raises:
        SireError: the errors of a prediction.
    """
    accept = answer_type(call.request.headers.get("accept", ""), streams=True)
    request = msgspec.structs.replace(
        request_for(call.models.check(call.request.path_params["name"]), call.request.query_params),
        content_type=_content_type(call.request.headers.get("content-type", "")),
        accept=content.JSON if accept in {EVENTS, LINES} else accept,
    )
    if accept in {EVENTS, LINES}:
        parts = await started(_parts(call, request, accept), partial(_last, kind=accept))
        return StreamingResponse(parts, media_type=accept)
    reply, frames = await call.models.daemon.predict(request, [call.body])
    assert isinstance(reply, Prediction)
    return Response(b"".join(frames), headers=_headers(reply))


def request_for(model: str, query: QueryParams) -> Predict:
    """A request for a model with the parameters of a query.

    Raises:
        InvalidInput: a parameter is unknown.
        InvalidConfiguration: a duration cannot be read.
    """
    if unknown := next((name for name in query if name not in _PARAMETERS), None):
        raise InvalidInput(
            f"There is no parameter {shown(unknown)}.",
            hint=f"{did_you_mean(unknown, _PARAMETERS)}Parameters are: {', '.join(_PARAMETERS)}.",
        )
    timeout = parse_duration(query["timeout"]) if "timeout" in query else None
    return Predict(
        model=model,
        timeout=timeout,
        priority=_priority(query["priority"]) if "priority" in query else None,
        keep_alive=parse_keep_alive(query.get("keep_alive")),
    )


def _priority(text: str) -> Priority:
    for known in PRIORITIES:
        if text == known:
            return known
    raise InvalidInput(f"{shown(text)} is not a priority.", hint=f"Use {', '.join(PRIORITIES)}.")


def _content_type(stated: str) -> str:
    """The content type of the body; one that is not stated is recognised by the bytes.

    Raises:
        InvalidInput: it has several frames, which a body is not.
    """
    named = stated.partition(";")[0].strip().lower()
    if named in _SEVERAL_FRAMES:
        raise InvalidInput(
            f"A body cannot be {named}, which is for sire's own clients.",
            hint="Send npy or npz, or tensors to /v2/models/NAME/infer.",
        )
    return content.UNKNOWN if named in _UNSTATED else stated


def _headers(reply: Prediction) -> dict[str, str]:
    """The content type, and where the time went, in milliseconds."""
    compute, queue = reply.compute_seconds * 1e3, reply.queue_seconds * 1e3
    return {
        "content-type": reply.content_type,
        "server-timing": f"queue;dur={queue:.3f}, compute;dur={compute:.3f}",
    }


async def _parts(call: Call, request: Predict, kind: str) -> AsyncGenerator[bytes, None]:
    """Each part of an answer as JSON, in an event or on a line."""
    async with aclosing(call.models.daemon.stream(request, [call.body])) as replies:
        async for reply, frames in replies:
            whole = b"".join(frames)
            if isinstance(reply, Part) or whole:
                yield _framed(whole, kind)


def _last(error: SireError, kind: str) -> bytes:
    """The part that reports an error."""
    return _framed(_encoded({"error": {"code": error.code, "message": str(error)}}), kind)


def _framed(line: bytes, kind: str) -> bytes:
    return b"data: %b\n\n" % line if kind == EVENTS else line + b"\n"


def _encoded(value: Any) -> bytes:
    return msgspec.json.encode(value)
