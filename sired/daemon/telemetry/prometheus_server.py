"""The HTTP server for Prometheus and for probes: ``/metrics`` and ``/health``, nothing else."""

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import msgspec

from sire.protocol.replies import HealthReport, MetricsReport
from sired.config.settings import MetricsSettings

log = logging.getLogger(__name__)

_REPORT_SECONDS = 5.0
# Tuples, because the server adds the length of the answer to the list that it is given.
_JSON = (("Content-Type", "application/json"),)
_TEXT = (("Content-Type", "text/plain; charset=utf-8"),)

_Report = TypeVar("_Report")
_Responder = Callable[..., Any]


class PrometheusServer:
    """Serves metrics and health from threads of its own; reports are made in the event loop.

    Args:
        loop: the daemon's event loop.
        metrics: makes a report of the metrics, in the event loop.
        health: makes a report of the health, in the event loop.
        settings: the address and port to listen at; port 0 disables the server.
        report_problem: takes a message that states why metrics cannot be served.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        metrics: Callable[[], MetricsReport],
        health: Callable[[], HealthReport],
        settings: MetricsSettings,
        report_problem: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._metrics = metrics
        self._health = health
        self._settings = settings
        self._report_problem = report_problem
        self._server: Any = None

    def open(self) -> None:
        """Start to listen in the background, if enabled: importing the server takes a while."""
        if self._settings.port:
            threading.Thread(target=self._open, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _open(self) -> None:
        # Nothing else in the daemon needs it.
        from sire.metrics import exposition_app  # noqa: PLC0415

        routes = MetricsRoutes(
            exposition_app(lambda: self._report(self._metrics)), lambda: self._report(self._health)
        )
        address = f"{self._settings.host}:{self._settings.port}"
        try:
            self._server = _listen(self._settings.host, self._settings.port, routes)
        except OSError as problem:
            message = f"metrics cannot be served at {address}: {problem.strerror or problem}"
            log.error("%s", message)  # noqa: TRY400 (a traceback adds nothing)
            self._report_problem(message)
        else:
            log.info("metrics are served at http://%s/metrics", address)
            self._server.serve_forever()

    def _report(self, make: Callable[[], _Report]) -> _Report:
        """A report made in the event loop.

        Raises:
            TimeoutError: the event loop does not respond.
        """

        async def report() -> _Report:
            return make()

        return asyncio.run_coroutine_threadsafe(report(), self._loop).result(_REPORT_SECONDS)


class MetricsRoutes:
    """The WSGI application: what each path answers.

    Args:
        metrics: the application at ``/metrics``.
        health: makes a health report; raises TimeoutError if the daemon does not respond.
    """

    def __init__(self, metrics: _Responder, health: Callable[[], HealthReport]) -> None:
        self._metrics = metrics
        self._health = health

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer one request (PEP 3333)."""
        path, method = environ.get("PATH_INFO"), environ["REQUEST_METHOD"]
        if path not in {"/metrics", "/health"}:
            start_response("404 Not Found", [*_TEXT])
            return [b"The paths are /metrics and /health.\n"]
        if method != "GET":
            start_response("405 Method Not Allowed", [*_TEXT, ("Allow", "GET")])
            return [b"The method is GET.\n"]
        try:
            if path == "/metrics":
                answer: Iterable[bytes] = self._metrics(environ, start_response)
                return answer
            return self._answer_health(start_response)
        except TimeoutError:
            start_response("503 Service Unavailable", [*_JSON])
            return [_summary("unresponsive", f"no reply within {_REPORT_SECONDS:.0f} s")]

    def _answer_health(self, start_response: Callable[..., Any]) -> Iterable[bytes]:
        report = self._health()
        # While it starts it takes requests already; while it drains it rejects them.
        accepts = report.status in {"ok", "starting"}
        start_response("200 OK" if accepts else "503 Service Unavailable", [*_JSON])
        return [_summary(report.status, *report.problems)]


def _summary(status: str, *problems: str) -> bytes:
    return msgspec.json.encode({"status": status, "problems": problems}) + b"\n"


def _listen(host: str, port: int, routes: MetricsRoutes) -> Any:
    """A server that listens but does not serve yet.

    Raises:
        OSError: the address cannot be used.
    """
    from wsgiref.simple_server import WSGIRequestHandler, make_server  # noqa: PLC0415

    from prometheus_client.exposition import ThreadingWSGIServer  # noqa: PLC0415

    class Handler(WSGIRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Log nothing: scrapes are frequent."""

    class MetricsServer(ThreadingWSGIServer):
        address_family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]

    return make_server(host, port, routes, server_class=MetricsServer, handler_class=Handler)
