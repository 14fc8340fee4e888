"""The port at which Prometheus fetches metrics, where there is to be one."""

import asyncio
import logging
import threading
from collections.abc import Callable
from typing import Any

from sire.protocol.replies import MetricsReport
from sired.config.settings import MetricsSettings

log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 5.0


class PrometheusServer:
    """Serves metrics from threads of its own; the daemon's loop is asked for each report.

    Args:
        loop: the daemon's.
        report: makes a report, in the loop.
        settings: where to listen; nowhere with port 0.
        complain: takes in words why nobody can fetch metrics that should be there.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        report: Callable[[], MetricsReport],
        settings: MetricsSettings,
        complain: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._report = report
        self._settings = settings
        self._complain = complain
        self._server: Any = None

    def open(self) -> None:
        """Listen soon, if that is wanted: what serves it takes a while to import."""
        if self._settings.port:
            threading.Thread(target=self._open, name="metrics", daemon=True).start()

    def close(self) -> None:
        """Listen no longer."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def _open(self) -> None:
        from sire.metrics import serve  # noqa: PLC0415 (nobody else in the daemon needs it)

        where = f"{self._settings.host}:{self._settings.port}"
        try:
            self._server = serve(self._settings.host, self._settings.port, self._ask)
        except OSError as problem:
            said = f"metrics cannot be fetched at {where}: {problem.strerror or problem}"
            log.error("%s", said)  # noqa: TRY400 (the reason is all there is)
            self._complain(said)
        else:
            log.info("metrics are at http://%s/metrics", where)

    def _ask(self) -> MetricsReport:
        async def report() -> MetricsReport:
            return self._report()

        asked = asyncio.run_coroutine_threadsafe(report(), self._loop)
        return asked.result(_PATIENCE_SECONDS)
