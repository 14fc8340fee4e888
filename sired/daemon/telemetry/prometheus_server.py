"""The HTTP server from which Prometheus fetches metrics, if a port is configured."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

from sire.protocol.replies import MetricsReport
from sired.config.settings import MetricsSettings

log = logging.getLogger(__name__)

_REPORT_SECONDS = 5.0


class PrometheusServer:
    """Serves metrics from threads of its own; each report is made in the daemon's event loop.

    Args:
        loop: the daemon's event loop.
        report: makes a report, in the event loop.
        settings: the address and port to listen at; port 0 disables the server.
        report_problem: takes a message that states why metrics cannot be served.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        report: Callable[[], MetricsReport],
        settings: MetricsSettings,
        report_problem: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._report = report
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
        from sire.metrics import serve  # noqa: PLC0415 (nothing else in the daemon needs it)

        address = f"{self._settings.host}:{self._settings.port}"
        try:
            self._server = serve(self._settings.host, self._settings.port, self._make_report)
        except OSError as problem:
            message = f"metrics cannot be served at {address}: {problem.strerror or problem}"
            log.error("%s", message)  # noqa: TRY400 (a traceback adds nothing)
            self._report_problem(message)
        else:
            log.info("metrics are served at http://%s/metrics", address)

    def _make_report(self) -> MetricsReport:
        async def report() -> MetricsReport:
            return self._report()

        future = asyncio.run_coroutine_threadsafe(report(), self._loop)
        return future.result(_REPORT_SECONDS)
