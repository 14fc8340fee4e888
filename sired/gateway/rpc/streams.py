"""``ModelStreamInfer``: requests in a stream, each answered by any number of responses.

A model that streams is answered for with a response for each part. Requests run at the same time,
and are answered in their order.
"""

import asyncio
from collections.abc import AsyncIterator

from google.protobuf.message import Message

from sired.gateway.oip.infer import infer_in_parts
from sired.gateway.oip.models import check_version
from sired.gateway.rpc.answers import error_in_stream, in_stream, response
from sired.gateway.rpc.calls import Caller, reported
from sired.gateway.rpc.requests import InferMessage, read_request

# Requests of a stream that run at the same time, and responses to each that are not sent yet.
_MOST_AHEAD = 16
# Asks for a response without outputs after the last part.
_EMPTY_FINAL = "triton_enable_empty_final_response"

# The responses to one request; None ends them.
_Responses = asyncio.Queue[Message | None]


async def model_stream_infer(
    caller: Caller, messages: AsyncIterator[InferMessage]
) -> AsyncIterator[Message]:
    """Run models on the requests of a stream; an error is a response, and the stream goes on."""
    turns: asyncio.Queue[_Responses | None] = asyncio.Queue(_MOST_AHEAD)
    tasks: set[asyncio.Task[None]] = set()

    async def read() -> None:
        try:
            async for message in messages:
                responses: _Responses = asyncio.Queue(_MOST_AHEAD)
                await turns.put(responses)
                running = asyncio.create_task(_run(caller, message, responses))
                tasks.add(running)
                running.add_done_callback(tasks.discard)
        except Exception:  # a message that is not one
            await turns.put(None)
            raise
        await turns.put(None)

    reading = asyncio.create_task(read())
    try:
        while (responses := await turns.get()) is not None:
            while (one := await responses.get()) is not None:
                yield one
        await reading
    finally:
        for task in (reading, *tasks):
            task.cancel()


async def _run(caller: Caller, message: InferMessage, responses: _Responses) -> None:
    """Put the responses to a request."""
    try:
        name = caller.models.check(message.model_name)
        check_version(name, message.model_version)
        request, contents = read_request(message)
        empty_final = request.parameters.get(_EMPTY_FINAL) is True
        async for outputs, last in infer_in_parts(caller.models, name, request, contents):
            if outputs or empty_final:
                made = response(name, request, outputs, final=last)
                await responses.put(in_stream(made))
    except Exception as problem:
        await responses.put(error_in_stream(message.id, reported(problem)))
    await responses.put(None)
