"""Paths on which the body names the model: programs get the request, others answer here."""

import msgspec
from starlette.responses import Response

from sire.protocol.requests import TakeSlot
from sired.gateway.call import Call, Handler
from sired.gateway.programs.forwarding import Forwarder


class ProgramOr:
    """Passes a request on, unchanged, if a program holds its model; else has it answered here.

    Args:
        forwarder: passes it on.
        answer: answers requests for other models, and those that name none.
    """

    def __init__(self, forwarder: Forwarder, answer: Handler) -> None:
        self._forwarder = forwarder
        self.described = self._answer = answer

    async def __call__(self, call: Call) -> Response:
        """Answer one request.

        Raises:
            SireError: the model is not served, or the errors of the answer.
        """
        name = await model_of(call)
        if name and (info := await call.choose(name)).serves_http:
            path: bytes = call.request.scope["raw_path"]
            return await self._forwarder.forward(call, TakeSlot(model=info.model.name), path)
        return await self._answer(call)


class _Named(msgspec.Struct):
    model: str = ""


_json = msgspec.json.Decoder(_Named)


async def model_of(call: Call) -> str:
    """The model that the body of a request names, as JSON or in a form; "" if it names none."""
    if call.is_form:
        model = (await call.form()).get("model")
        return model if isinstance(model, str) else ""
    try:
        return _json.decode(call.body).model
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""  # the endpoint reports what is wrong
