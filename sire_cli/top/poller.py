"""Asking the daemon again and again in a thread of its own, so that keys are answered at once."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from sire.client.connection import Connection
from sire.errors import DaemonUnavailable, SireError
from sire.paths import Paths
from sire.protocol.replies import TopReport
from sire.protocol.requests import Top
from sire_cli.top.rate_history import RateHistory

# A daemon that is this late is as good as gone; what it says later is not waited for.
ANSWER_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class LatestReport:
    """The last report, and why there is no newer one; "" while there is."""

    report: TopReport
    lost: str = ""


class Poller(threading.Thread):
    """Keeps ``seen`` up to date until the process ends; never starts a daemon.

    Args:
        paths: where the daemon is.
        first: the report to begin with.
        interval: seconds between two questions.
        changed: called from this thread whenever ``seen`` is another.

    Attributes:
        seen: what the daemon said last.
        trail: what it has said before.
    """

    def __init__(
        self, paths: Paths, first: TopReport, interval: float, changed: Callable[[], object]
    ) -> None:
        # Nothing is lost when it dies in the middle of a question, so nobody waits for it.
        super().__init__(name="poller", daemon=True)
        self.seen = LatestReport(first)
        self.history = RateHistory()
        self.history.follow(first)
        self._paths = paths
        self._interval = interval
        self._changed = changed
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ask no more."""
        self._stopped.set()

    def run(self) -> None:
        """Ask, once every interval."""
        with Connection(self._paths, autostart=False) as connection:
            while not self._stopped.wait(self._interval):
                self.seen = self._look(connection)
                self._changed()

    def _look(self, connection: Connection) -> LatestReport:
        try:
            question = Top(after=self.history.last)
            report = connection.expect(TopReport, question, timeout=ANSWER_TIMEOUT_SECONDS)
        except DaemonUnavailable:
            return replace(self.seen, lost="no daemon, retrying…")
        except SireError as problem:
            return replace(self.seen, lost=f"{problem.message} Retrying…")
        self.history.follow(report)
        return LatestReport(report)
