"""``/upstream/NAME/…``: all that the program of a model offers."""

from functools import partial
from urllib.parse import unquote_to_bytes

from starlette.responses import Response
from starlette.types import Receive, Scope

from sire.errors import ModelNotFound, shown
from sire.nearest import did_you_mean
from sire.protocol.requests import TakeSlot
from sired.gateway.call import BaseEndpoint, Call
from sired.gateway.programs.forwarding import Forwarder
from sired.gateway.programs.upload import Upload
from sired.gateway.served import ServedModels

PREFIX = "/upstream/"


class Upstream(BaseEndpoint):
    """Passes on what is sent to a path below ``/upstream/NAME``, while it arrives.

    Args:
        models: what the gateway serves.
        forwarder: sends it.
    """

    def __init__(self, models: ServedModels, forwarder: Forwarder) -> None:
        super().__init__(models)
        self._forwarder = forwarder

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        """The program's response, which may begin before the body is complete."""
        upload = Upload(receive)
        try:
            call = self._call(scope, receive, b"")
            pass_on = partial(self._pass_on, upload=upload)
            return await upload.unless_gone(self._answer(call, pass_on))
        except BaseException:
            upload.close()
            raise

    async def _pass_on(self, call: Call, upload: Upload) -> Response:
        """Pass on one request.

        Raises:
            SireError: no such model is served, or there is no slot for the request.
        """
        rest = call.request.scope["raw_path"][len(PREFIX) :]
        try:
            name, path = _split(rest, await call.models.known_names())
        except ModelNotFound:  # unless it was registered just now
            name, path = _split(rest, await call.models.known_names(fresh=True))
        info = await call.choose(name)
        request = TakeSlot(model=info.model.name)
        return await self._forwarder.forward(call, request, path, upload)


def _split(rest: bytes, names: frozenset[str]) -> tuple[str, bytes]:
    """The name of a model and the path behind it; names may have slashes, and the longest counts.

    Raises:
        ModelNotFound: it begins with no name.
    """
    segments = rest.split(b"/")
    for count in range(len(segments), 0, -1):
        name = unquote_to_bytes(b"/".join(segments[:count])).decode(errors="replace")
        if name in names:
            return name, b"/" + b"/".join(segments[count:])
    first = unquote_to_bytes(segments[0]).decode(errors="replace")
    raise ModelNotFound(
        f"No model {shown(first)} is served here.", hint=did_you_mean(first, names), model=first
    )
