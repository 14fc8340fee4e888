"""The gateway's process: it connects to the daemon, listens, and ends by a signal."""

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Iterator

import uvicorn
import uvloop

from sire.client.aio.connection import AsyncConnection
from sire.errors import SireError
from sire.protocol.replies import HealthReport
from sire.protocol.requests import Health
from sired.gateway.address import Address, listen
from sired.gateway.app import Gateway
from sired.gateway.limits import LimitedProtocol
from sired.gateway.programs.forwarding import Forwarder
from sired.gateway.served import ServedModels

log = logging.getLogger(__name__)
# It reports each response that a program has broken off; endpoints log their own failures.
logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

# Requests in progress may take this long to end after a signal; a second signal ends them.
_GRACE_SECONDS = 10
_KEEP_ALIVE_SECONDS = 75


def run(address: Address, names: tuple[str, ...]) -> None:
    """Serve models until SIGINT or SIGTERM.

    Args:
        address: to listen on.
        names: the models to serve and to load; empty for all, loaded as they are requested.

    Raises:
        DaemonUnavailable: no daemon runs, and none can be started.
        ModelNotFound: one of the names is not registered.
        InvalidConfiguration: the address is in use.
    """
    uvloop.run(_serve(address, names))


async def _serve(address: Address, names: tuple[str, ...]) -> None:
    daemon = AsyncConnection()
    models, forwarder = ServedModels(daemon, names), Forwarder()
    try:
        await daemon.expect(HealthReport, Health())
        for name in names:
            await models.show(name)
        line, bound = listen(address)
        sys.stdout.write(f"{_summary(bound, names)}\n")
        sys.stdout.flush()
        loading = asyncio.create_task(_load(models))
        await _Server(_config(Gateway(models, forwarder))).serve(sockets=[line])
        loading.cancel()
    finally:
        await forwarder.close()
        daemon.close()


def _summary(bound: Address, names: tuple[str, ...]) -> str:
    what = ", ".join(names) or "all models"
    url = f"http://{bound.authority}"
    paths = (
        "POST /models/NAME/predict, OpenAI and Anthropic at /v1, Ollama at /api, "
        "Open Inference Protocol at /v2"
    )
    return f"Serving {what} on {url}: {paths}"


async def _load(models: ServedModels) -> None:
    """Load the models that were named, one after the other; requests need not wait for it."""
    for name in models.names:
        try:
            await models.load(name)
        except SireError as error:
            log.warning("%s is not loaded: %s", name, error)


def _config(app: Gateway) -> uvicorn.Config:
    return uvicorn.Config(
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
    )


class _Server(uvicorn.Server):
    """A server that sleeps until a signal arrives, and does not repeat the signal at its end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stop = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for a signal."""
        await self._stop.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while the server runs."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._end)
        yield

    def _end(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
        self._stop.set()
