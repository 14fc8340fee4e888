"""Polling the daemon in a background thread, so that the view stays responsive."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from sire.client.autostart import daemon_runs
from sire.client.daemon_client import DaemonClient
from sire.errors import DaemonUnavailable, SireError
from sire.paths import find_paths
from sire.protocol.replies import TopReport
from sire.protocol.requests import Top
from sire_cli.daemon_connection import connect, gateway_url
from sire_cli.top.rate_history import RateHistory

# A daemon that takes longer is reported as unresponsive.
REPLY_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class LatestReport:
    """The last report, and the reason why it is outdated; "" while it is current."""

    report: TopReport
    outdated: str = ""


class Poller(threading.Thread):
    """Keeps ``latest`` current until the process ends; never starts a daemon.

    Args:
        first: the first report.
        interval: seconds between requests.
        changed: called from this thread whenever ``latest`` changes.

    Attributes:
        latest: the latest report.
        history: request rates and events from all reports.
    """

    def __init__(self, first: TopReport, interval: float, changed: Callable[[], object]) -> None:
        # A daemon thread: it can be ended in the middle of a request.
        super().__init__(name="poller", daemon=True)
        self.latest = LatestReport(first)
        self.history = RateHistory()
        self.history.add(first)
        self._interval = interval
        self._changed = changed
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Stop polling."""
        self._stopped.set()

    def run(self) -> None:
        """Request a report once per interval."""
        with connect(autostart=False) as connection:
            while not self._stopped.wait(self._interval):
                self.latest = self._poll(connection)
                self._changed()

    def _poll(self, connection: DaemonClient) -> LatestReport:
        try:
            request = Top(after=self.history.last)
            report = connection.expect(TopReport, request, timeout=REPLY_TIMEOUT_SECONDS)
        except DaemonUnavailable as problem:
            return replace(self.latest, outdated=f"{_state(problem)}, retrying…")
        except SireError as problem:
            return replace(self.latest, outdated=f"{problem.message} Retrying…")
        self.history.add(report)
        return LatestReport(report)


def _state(problem: DaemonUnavailable) -> str:
    """What is the matter with a daemon that does not answer, in a few words."""
    if gateway_url():
        return problem.message.rstrip(".")
    return "daemon does not respond" if daemon_runs(find_paths()) else "daemon not running"
