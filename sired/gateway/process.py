"""The gateway's process: it connects to the daemon, listens, and ends by a signal."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Protocol

import uvicorn
import uvloop

from sire.errors import InvalidConfiguration, SireError, error_text
from sire.listening import Address
from sire.protocol.replies import HealthReport
from sire.protocol.requests import Health, Keep
from sired.gateway.app import Gateway
from sired.gateway.batches.runner import BatchRunner
from sired.gateway.limits import LimitedProtocol
from sired.gateway.loading import PatientConnection
from sired.gateway.options import ServeOptions
from sired.gateway.programs.forwarding import Forwarder
from sired.gateway.served import ServedModels

log = logging.getLogger(__name__)
# It reports each response that a program has broken off; endpoints log their own failures.
logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

# Requests in progress may take this long to end after a signal; a second signal ends them.
_GRACE_SECONDS = 10
_KEEP_ALIVE_SECONDS = 75


def run(options: ServeOptions, ready: Callable[[tuple[str, ...]], None]) -> None:
    """Serve models until SIGINT or SIGTERM.

    Args:
        options: what to serve, and how.
        ready: called with the URLs, once requests are taken.

    Raises:
        DaemonUnavailable: no daemon runs, and none can be started.
        ModelNotFound: one of the models is not registered.
        InvalidConfiguration: the address is in use, or the certificate is not valid.
    """
    uvloop.run(_serve(options, ready))


async def _serve(options: ServeOptions, ready: Callable[[tuple[str, ...]], None]) -> None:
    # Each daemon, since models are kept for as long as a connection lasts.
    keep = Keep(models=options.names) if options.names else None
    daemon = PatientConnection(
        greeting=keep, loading_wait=options.loading_wait, timeout=options.timeout
    )
    models, forwarder = ServedModels(daemon, options.names), Forwarder()
    batches = BatchRunner(forwarder)
    try:
        await daemon.expect(HealthReport, Health())
        for name in options.names:
            await models.show(name)
        config = server_config(
            Gateway(models, forwarder, options.keys, options.cors, batches), options
        )
        lines = options.listen()
        grpc, grpc_bound = await _start_grpc(models, options)
        urls = [f"{options.scheme}://{bound.authority}" for _, bound in lines]
        if grpc_bound is not None:
            urls.append(f"grpc://{grpc_bound.authority}")
        ready(tuple(urls))
        batches.start()
        loading = asyncio.create_task(_load(models))
        await GatewayServer(config, grpc).serve(sockets=[line for line, _ in lines])
        loading.cancel()
    finally:
        await batches.stop()
        await forwarder.close()
        daemon.close()


class GrpcServer(Protocol):
    """The server of ``rpc``."""

    async def stop(self, grace: float | None) -> None:
        """Stop; requests in progress may take this many seconds."""


async def _start_grpc(
    models: ServedModels, options: ServeOptions
) -> tuple[GrpcServer | None, Address | None]:
    """Start the server of gRPC, if there is to be one, which imports it."""
    if options.grpc is None:
        return None, None
    from sired.gateway.rpc import server  # noqa: PLC0415

    return await server.start(models, options, options.grpc)


def summary(options: ServeOptions, urls: tuple[str, ...]) -> str:
    """What is served, and where, in a line."""
    what = ", ".join(options.names) or "all models"
    who = ", to those who have a key" if options.keys else ""
    paths = (
        "POST /models/NAME/predict, OpenAI and Anthropic at /v1, Ollama at /api, "
        "Open Inference Protocol at /v2"
    )
    where = " and ".join(urls)
    return f"Serving {what} on {where}{who}: {paths}"


async def _load(models: ServedModels) -> None:
    """Load the models that were named, one after the other; requests need not wait for it."""
    for name in models.names:
        try:
            await models.load(name)
        except SireError as error:
            log.warning("%s is not loaded: %s", name, error)


def server_config(app: Gateway, options: ServeOptions) -> uvicorn.Config:
    """The server's settings.

    Raises:
        InvalidConfiguration: the certificate, or its key, is not valid.
    """
    config = uvicorn.Config(
        app,
        http=LimitedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=options.certificate,
        ssl_keyfile=options.private_key,
    )
    try:
        config.load()
    except (OSError, ValueError) as problem:  # of the ssl module
        raise InvalidConfiguration(
            f"The certificate {options.certificate} and its key {options.private_key} cannot be "
            f"used: {error_text(problem)}.",
            hint="Both are PEM files, and the key is that of the certificate.",
        ) from None
    return config


class GatewayServer(uvicorn.Server):
    """A server that sleeps until a signal arrives, and does not repeat the signal at its end.

    Args:
        config: its settings.
        grpc: a server that stops with it.
    """

    def __init__(self, config: uvicorn.Config, grpc: GrpcServer | None = None) -> None:
        super().__init__(config)
        self._stop = asyncio.Event()
        self._grpc = grpc

    async def main_loop(self) -> None:
        """Wait for a signal."""
        await self._stop.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more requests, and wait for those in progress."""
        await asyncio.gather(super().shutdown(sockets), self._stop_grpc(_GRACE_SECONDS))

    async def _stop_grpc(self, seconds: float) -> None:
        if self._grpc is not None:
            await self._grpc.stop(seconds)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the server runs."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.end)
        yield

    def end(self) -> None:
        """Stop; a second call does not wait for requests in progress."""
        if self.should_exit:
            self.force_exit = True
            self._forced = asyncio.ensure_future(self._stop_grpc(0))
        self.should_exit = True
        self._stop.set()
