"""The ASGI application: its paths, and what comes before and after each of them."""

from http import HTTPMethod

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from sire.protocol.body import PATH as MESSAGES
from sired.gateway import health, plain, remote
from sired.gateway.anthropic import endpoints as anthropic
from sired.gateway.batches import endpoints as batches
from sired.gateway.batches.runner import BatchRunner
from sired.gateway.call import Endpoint
from sired.gateway.cors import NO_CORS, Cors, preflight
from sired.gateway.documentation import Documentation
from sired.gateway.errors import HttpError, error_response
from sired.gateway.generation.generators import Generators
from sired.gateway.guard import check_sender, header
from sired.gateway.jobs import endpoints as jobs
from sired.gateway.keys import Keys
from sired.gateway.nodes import endpoints as nodes
from sired.gateway.oip import endpoints as oip
from sired.gateway.ollama import endpoints as ollama
from sired.gateway.openai import endpoints as openai
from sired.gateway.programs.forwarding import Forwarder
from sired.gateway.programs.upstream import PREFIX, Upstream
from sired.gateway.served import ServedModels

# These need no key, and tell nothing of the models: load balancers and browsers ask for them.
_OPEN = frozenset({"/health/live", "/v2/health/live", "/openapi.json", "/docs"})


def routes(
    models: ServedModels, forwarder: Forwarder, runner: BatchRunner | None = None
) -> list[BaseRoute]:
    """All paths; those whose answers take least time come first."""
    generators = Generators(models.daemon, forwarder)
    return [
        _route("POST", "/models/{name:path}/predict", Endpoint(models, plain.predict)),
        _route("POST", MESSAGES, Endpoint(models, remote.ask)),
        *oip.routes(models),
        *anthropic.routes(models, forwarder, generators),
        *(batches.routes(models, runner) if runner else ()),
        *openai.routes(models, forwarder, generators),
        *ollama.routes(models, generators),
        *jobs.routes(models),
        *nodes.routes(models),
        _any_method(f"{PREFIX}{{path:path}}", Upstream(models, forwarder)),
        _route("GET", "/health", Endpoint(models, health.health)),
        _route("GET", "/health/live", _Live()),
        _route("GET", "/health/ready", Endpoint(models, health.ready)),
        _route("GET", "/metrics", Endpoint(models, health.metrics)),
    ]


class _Live:
    """Whether this process answers, whatever the daemon does."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await health.live(scope, receive, send)


def _route(method: str, path: str, endpoint: ASGIApp) -> Route:
    return Route(path, endpoint, methods=[method])


def _any_method(path: str, endpoint: ASGIApp) -> Route:
    return Route(path, endpoint, methods=list(HTTPMethod))


class Gateway:
    """The ASGI application of one process.

    Args:
        models: what it serves.
        forwarder: passes requests on to programs.
        keys: the keys that it demands; None for none.
        cors: the other sites whose pages may use it.
        runner: runs the batches; None for a gateway without any.
    """

    def __init__(
        self,
        models: ServedModels,
        forwarder: Forwarder,
        keys: Keys | None = None,
        cors: Cors = NO_CORS,
        runner: BatchRunner | None = None,
    ) -> None:
        self._keys = keys
        self._cors = cors
        paths = routes(models, forwarder, runner)
        told = Documentation(paths, demands_keys=keys is not None)
        self._router = Router([*paths, *told.routes], redirect_slashes=False, default=_no_path)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope["app"] = self  # has Starlette raise what it would else answer itself
        if self._cors.origins and self._cors.allows(origin := header(scope, b"origin")):
            send = self._cors.told(origin, send)
            if (allowed := preflight(scope)) is not None:
                await allowed(scope, receive, send)
                return
        try:
            check_sender(scope, self._cors, any_host=self._keys is not None)
            if self._keys is None or scope["path"] in _OPEN:
                await self._router(scope, receive, send)
                return
            scope["sire.key"] = key = self._keys.check(scope["headers"])
            with self._keys.in_progress(key):
                await self._router(scope, receive, send)
        except HttpError as error:
            await error_response(error)(scope, receive, send)
        except HTTPException as problem:  # the path exists, but not with this method
            refused = HttpError(
                problem.status_code,
                f"{scope['path']} does not take {scope['method']}.",
                headers=dict(problem.headers or {}),
            )
            await error_response(refused)(scope, receive, send)


async def _no_path(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    raise HttpError(404, f"There is no path {scope['path']}.")
