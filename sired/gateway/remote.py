"""``POST /sire/messages``: the daemon's own protocol, for sire's clients on other machines.

A request is passed on to the daemon as it stands, if it changes nothing but what the key allows. It
never registers, trusts or removes anything, and reads no file that it names.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

import msgspec
from starlette.responses import Response, StreamingResponse

from sire.client.link import Answer
from sire.errors import AccessDenied, ProtocolError, SireError
from sire.protocol import aliases, jobs, requests, services
from sire.protocol.body import CONTENT_TYPE, HEARTBEAT, HEARTBEAT_SECONDS, frames_of, prefix
from sire.protocol.content import Buffer
from sire.protocol.framing import decode_request, encode, failure
from sire.protocol.message import Message
from sire.protocol.replies import ModelList
from sire.protocol.requests import Predict, Request
from sired.gateway.call import Call
from sired.gateway.describe import describe
from sired.gateway.errors import HttpError
from sired.gateway.keys import require_manage
from sired.gateway.streams import started

# What every key allows.
USING = (
    requests.Health,
    requests.ListModels,
    requests.Show,
    requests.Predict,
    requests.PoolStats,
    requests.Ps,
    requests.Stats,
    requests.History,
    requests.Devices,
    requests.Top,
    requests.Metrics,
    jobs.Submit,
    jobs.ListJobs,
    jobs.ShowJob,
    jobs.UnfinishedJobs,
    jobs.CountJobs,
    jobs.WaitJobs,
    jobs.JobResult,
    jobs.CancelJobs,
    aliases.ListAliases,
    aliases.Resolve,
)
# What takes a key of the scope manage.
MANAGING = (
    requests.Load,
    requests.Unload,
    requests.Move,
    requests.Reload,
    requests.Pin,
    requests.Shrink,
    jobs.RemoveJobs,
)
# What only the machine itself may ask for.
HERE = (
    requests.Register,
    requests.Estimate,
    requests.Remove,
    requests.Verify,
    requests.Acquire,
    requests.Release,
    requests.TakeSlot,
    requests.FreeSlot,
    requests.Keep,
    requests.ShowConfig,
    requests.Cancel,
    requests.WhyEnded,
    requests.Shutdown,
    services.StartService,
    services.ListServices,
    services.ShowService,
    services.StopService,
    aliases.SetAlias,
    aliases.RemoveAlias,
)


@describe(bytes, bytes)
async def ask(call: Call) -> Response:
    """Pass a request on to the daemon.

    Raises:
        HttpError: the body is not one message, or not a request.
        AccessDenied: such requests are not passed on, or not for this key.
        SireError: the daemon's error.
    """
    try:
        header, *payload = frames_of(call.body) or [memoryview(b"")]
        request = decode_request(header)
    except ProtocolError as error:
        raise HttpError(400, error.message, hint=error.hint) from None
    await _check(call, request)
    if isinstance(request, Predict) and request.stream:
        parts = await started(_streamed(call, request, payload), _Failed(request))
        return StreamingResponse(parts, media_type=CONTENT_TYPE)
    answering = asyncio.ensure_future(_answer(call, request, payload))
    try:
        done, _ = await asyncio.wait({answering}, timeout=HEARTBEAT_SECONDS)
    except asyncio.CancelledError:
        answering.cancel()
        raise
    if done:
        return Response(_encoded(request, *answering.result()), media_type=CONTENT_TYPE)
    parts = await started(_awaited(request, answering), _Failed(request))
    return StreamingResponse(parts, media_type=CONTENT_TYPE)


async def _check(call: Call, request: Request) -> None:
    """Refuse what the gateway, or the key, does not allow."""
    if isinstance(request, MANAGING) or (isinstance(request, requests.Health) and request.deep):
        require_manage(call.key)
    elif not isinstance(request, USING):
        raise AccessDenied(
            f"{type(request).__name__} is not possible from another machine.",
            hint="Models are registered, trusted, removed and leased on the machine itself.",
        )
    if isinstance(request, Predict) and request.lease is not None:
        raise AccessDenied("A lease belongs to a client on the machine itself.")
    if call.models.names and not isinstance(request, requests.ListModels | requests.Health):
        await _check_models(call, request)


async def _check_models(call: Call, request: Request) -> None:
    """Refuse a request that concerns other models than those that are served to this key."""
    named = [getattr(request, name, None) for name in ("model", "name")]
    jobs_named = [*getattr(request, "jobs", ()), *filter(None, [getattr(request, "job", None)])]
    for job in jobs_named:
        report = await call.models.daemon.expect(jobs.JobReport, jobs.ShowJob(job=job))
        named.append(report.job.model)
    models = [name for name in named if isinstance(name, str)]
    models += getattr(request, "models", ())
    everything = isinstance(request, jobs.CancelJobs) and request.all
    older = isinstance(request, jobs.RemoveJobs) and request.older_than is not None
    if not models or everything or older:
        raise AccessDenied(
            f"{type(request).__name__} concerns all models, and only some are served here: "
            f"{', '.join(call.models.names)}.",
            hint="Name one of them.",
        )
    for name in models:
        call.models.check(name)


async def _answer(call: Call, request: Request, payload: Sequence[Buffer]) -> Answer:
    if isinstance(request, Predict):
        return await call.models.daemon.predict(request, payload)
    reply, frames = await call.models.daemon.ask(request, payload)
    if isinstance(reply, ModelList) and call.models.names:
        served = tuple(one for one in reply.models if one.model.name in call.models.names)
        reply = msgspec.structs.replace(reply, models=served, damaged={})
    return reply, frames


async def _awaited(
    request: Request, answering: "asyncio.Future[Answer]"
) -> AsyncGenerator[bytes, None]:
    """Heartbeats, and then the answer."""
    try:
        while not answering.done():
            yield HEARTBEAT
            await asyncio.wait({answering}, timeout=HEARTBEAT_SECONDS)
        yield _encoded(request, *answering.result())
    finally:
        answering.cancel()


async def _streamed(
    call: Call, request: Predict, payload: Sequence[Buffer]
) -> AsyncGenerator[bytes, None]:
    """Each part of an answer, and heartbeats while there is none."""
    async with aclosing(call.models.daemon.stream(request, payload)) as replies:
        following = asyncio.ensure_future(anext(replies, None))
        try:
            while True:
                await asyncio.wait({following}, timeout=HEARTBEAT_SECONDS)
                if not following.done():
                    yield HEARTBEAT
                    continue
                if (answer := following.result()) is None:
                    return
                yield _encoded(request, *answer)
                following = asyncio.ensure_future(anext(replies, None))
        finally:
            following.cancel()
            await asyncio.wait({following})


def _encoded(request: Request, reply: Message, frames: Sequence[Buffer]) -> bytes:
    """A reply to a request, with the id that the client gave it."""
    whole = [encode(msgspec.structs.replace(reply, id=request.id)), *frames]
    return b"".join([prefix(whole), *whole])


class _Failed:
    """Makes the last message of an answer that failed after it had begun."""

    def __init__(self, request: Request) -> None:
        self._request = request

    def __call__(self, error: SireError) -> bytes:
        return _encoded(self._request, failure(error, self._request.id), [])
