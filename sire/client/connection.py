"""One blocking connection to the daemon."""

import itertools
import os
import time
from collections.abc import Generator, Sequence

import msgspec

from sire.client.autostart import daemon_runs, ensure_daemon
from sire.client.daemon_client import DaemonClient, own_timeout
from sire.client.direct.exchange import ConnectionLost
from sire.client.direct.router import Routes
from sire.client.link import BACKLOG, Answer, Link, connect
from sire.errors import DaemonUnavailable, DeadlineExceeded
from sire.paths import Paths, find_paths
from sire.protocol.content import Buffer, size_of
from sire.protocol.framing import LARGEST_HEADER, raise_failure, too_large
from sire.protocol.replies import ConfigReport, Failure, Part, Reply
from sire.protocol.requests import Predict, Request, ShowConfig, WhyEnded
from sire.units import parse_bytes

# For the daemon to report its limit.
LIMIT_SECONDS = 5.0
# Daemons that are tried for one request, each of which died before it received the request.
MOST_DAEMONS = 3


class Connection(DaemonClient):
    """A connection to the daemon, opened by the first request; for one thread at a time.

    Args:
        paths: the daemon's socket and lock; by default those of the environment.
        autostart: start a daemon if none runs. ``SIRE_NO_AUTOSTART=1`` disables it as well.
    """

    def __init__(self, paths: Paths | None = None, *, autostart: bool = True) -> None:
        self._paths = paths or find_paths()
        self._autostart = autostart and os.environ.get("SIRE_NO_AUTOSTART", "") in ("", "0")
        self._ids = itertools.count(1)
        self._link: Link | None = None
        self._routes = Routes(self._paths)

    def close(self) -> None:
        """Close the socket; the next request opens another one."""
        self._routes.close()
        if self._link is not None:
            self._link.close()
            self._link = None

    def _replies(
        self, request: Request, payload: Sequence[Buffer], timeout: float | None
    ) -> Generator[Answer, None, None]:
        """Send a request and yield its replies; all but the last are parts."""
        self._died = False
        request = msgspec.structs.replace(request, id=next(self._ids))
        due = own_timeout(request)
        link: Link | None = None
        reply: Reply | None = None
        try:
            link, (reply, frames) = self._first(request, payload, timeout, due)
            while isinstance(reply, Part):
                yield reply, frames
                reply, frames = link.receive(request.id, timeout, due=due)
            if isinstance(reply, Failure):
                raise_failure(reply)
            yield reply, frames
        except (KeyboardInterrupt, DeadlineExceeded, GeneratorExit):
            # An interrupt may come right after the request was sent.
            link = link or self._link
            if link is not None and (reply is None or isinstance(reply, Part)):
                link.cancel(request.id, next(self._ids))
            raise
        except DaemonUnavailable:
            link = link or self._link
            if link is None:
                raise
            link.abandon([request.id])
            self._link = None
            self.close()
            if link.ended:
                self._check_size(payload)
            self._died = link.ended
            raise

    def _first(
        self,
        request: Request,
        payload: Sequence[Buffer],
        timeout: float | None,
        due: float | None,
    ) -> tuple[Link, Answer]:
        """Send a request and wait for the first reply; returns it with the link that it came on.

        A daemon that is being killed may still be connected to, but receives nothing: the next one
        is asked then.

        Raises:
            InvalidInput: the header exceeds the limit.
            DaemonUnavailable: no daemon runs, it went away, or it does not respond.
            DeadlineExceeded: no reply within ``timeout``.
        """
        for _ in range(MOST_DAEMONS - 1):
            link = self._sent(request, payload, timeout)
            try:
                return link, link.receive(request.id, timeout, due=due)
            except DaemonUnavailable:
                if link.greeted or not link.ended:
                    raise
                self.close()
        link = self._sent(request, payload, timeout)
        return link, link.receive(request.id, timeout, due=due)

    def _sent(self, request: Request, payload: Sequence[Buffer], timeout: float | None) -> Link:
        """Send a request to the daemon, or to the next one if it dies before; returns the link.

        Raises:
            InvalidInput: the header exceeds the limit.
            DaemonUnavailable: there is no daemon that takes it.
        """
        for _ in range(MOST_DAEMONS):
            link = self._connected(timeout)
            try:
                if link.send(request, payload, seconds=timeout):
                    return link
            except DaemonUnavailable:
                self.close()
                raise
            self.close()
            self._check_size(payload)
        raise link.connection_lost()

    def predict(
        self, request: Predict, payload: Sequence[Buffer] = (), *, timeout: float | None = None
    ) -> Answer:
        """Send a prediction, over a direct connection to a worker where the daemon grants one.

        Raises:
            SireError: the errors of ``ask``.
        """
        began = time.monotonic()
        try:
            if answer := self._routes.ask(request, payload):
                return answer
        except ConnectionLost as ended:
            if ended.connection is not None:  # raises the reason
                self.ask(WhyEnded(connection=ended.connection), timeout=timeout)
            if request.timeout is not None:
                left = max(0.0, request.timeout - (time.monotonic() - began))
                request = msgspec.structs.replace(request, timeout=left)
        return self.ask(request, payload, timeout=timeout)

    def open_link(self, timeout: float | None = None, *, backlog: int = BACKLOG) -> Link:
        """Open another socket to the same daemon, for many requests in flight at once.

        Args:
            timeout: seconds to wait for the connection.
            backlog: messages that may wait in each direction; 0 for any number.

        Raises:
            DaemonUnavailable: no daemon runs and none was started, or it accepts no connections.
        """
        for _ in range(MOST_DAEMONS):
            if not daemon_runs(self._paths):
                self._start_daemon()
            if link := connect(self._paths, timeout, backlog=backlog):
                return link
        raise DaemonUnavailable(
            f"{MOST_DAEMONS} daemons ended before they accepted a connection.",
            hint=f"See their log: {self._paths.daemon_log}",
        )

    def _check_size(self, payload: Sequence[Buffer]) -> None:
        """Raise InvalidInput if the daemon disconnected because the payload exceeds its limit."""
        size = size_of(payload)
        if size > LARGEST_HEADER and daemon_runs(self._paths):
            report = self.expect(ConfigReport, ShowConfig(), timeout=LIMIT_SECONDS)
            if size > (largest := largest_message(report)):
                raise too_large(size, largest)

    def _connected(self, timeout: float | None) -> Link:
        if self._link is not None and self._link.stale():
            self.close()
        if self._link is None:
            self._link = self.open_link(timeout)
        return self._link

    def _start_daemon(self) -> None:
        if not self._autostart:
            raise DaemonUnavailable("No daemon is running.", hint="Start it: sire daemon start")
        ensure_daemon(self._paths)


def largest_message(report: ConfigReport) -> int:
    """The most bytes of payload that a daemon of this configuration accepts in a message."""
    values = {setting.key: setting.value for setting in report.settings}
    return parse_bytes(values["daemon.max_message"])
