"""A service: one gateway that is started again when it ends.

1. The daemon opens the socket and passes it on. So an address in use is reported at once, a port
   that the system chose stays, and what connects while the gateway is started again waits in the
   socket.
2. A process that has ended is started again as models that crash are: at once, twice; then after
   ``daemon.retry_after`` seconds, and after twice as long each time, up to ``retry_most``. Its
   earlier ends count no longer once it has run for a minute.
3. While it waits to be started, the socket is closed: clients are refused instead of left waiting.
4. One that has not taken requests within a minute of its start is killed.
"""

import asyncio
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from sire.errors import Cancelled, ServiceFailed, SireError, error_from, error_text
from sire.listening import listen, parse_listen
from sire.protocol.services import GatewayReport, ServiceInfo, ServiceSpec, ServiceState
from sired.daemon.gateways.process import GatewayProcess
from sired.scheduler.entities.backoff import Backoff
from sired.scheduler.rules import Rules

START_SECONDS = 60.0
STEADY_SECONDS = 60.0


class GatewayService:
    """One gateway, kept running until it is stopped.

    Args:
        loop: the daemon's event loop.
        spec: what the gateway is started with.
        log: the file that its output goes to.
        rules: those of the scheduler, as they are now.
        configured: whether the settings start it.

    Attributes:
        spec: what it is started with; a port of 0 becomes the one that the system chose.
        addresses: the URLs at which it takes requests; empty until it has run.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        spec: ServiceSpec,
        log: Path,
        rules: Callable[[], Rules],
        *,
        configured: bool = False,
    ) -> None:
        self.spec, self.addresses = spec, tuple[str, ...]()
        self._loop, self._log, self._rules = loop, log, rules
        self._configured = configured
        self._state: ServiceState = "starting"
        self._since = time.monotonic()
        self._process: GatewayProcess | None = None
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._backoff = Backoff()
        self._restarts = 0
        self._why: SireError | None = None
        self._error: SireError | None = None
        self._output: tuple[str, ...] = ()
        self._started: asyncio.Future[None] | None = None
        self._gone: asyncio.Future[None] = loop.create_future()

    @property
    def problem(self) -> str:
        """Why it does not run although it should; "" if it does."""
        if self._state == "running" or self._error is None:
            return ""
        return f"the service {self.spec.name} does not run: {self._error}"

    @property
    def runs(self) -> bool:
        """Whether it has a process."""
        return self._process is not None

    def info(self, message_id: str | int = "") -> ServiceInfo:
        """The service as it is now."""
        waiting = self._timer if self._state == "restarting" else None
        return ServiceInfo(
            id=message_id,
            service=self.spec,
            state=self._state,
            state_seconds=time.monotonic() - self._since,
            addresses=self.addresses,
            configured=self._configured,
            pid=None if self._process is None else self._process.pid,
            restarts=self._restarts,
            retry_seconds=None if waiting is None else max(0.0, waiting.when() - self._loop.time()),
            last_error="" if self._error is None else str(self._error),
            output=self._output,
        )

    async def run_first(self) -> None:
        """Start it, and wait until it takes requests; if it cannot, nothing is left of it.

        Raises:
            SireError: why it cannot.
        """
        self._started = self._loop.create_future()
        self.start()
        try:
            await self._started
        finally:
            self._started = None

    def start(self) -> None:
        """Start the process; it is started again for as long as that fails."""
        self._timer = None
        self._become("starting")
        try:
            if self._socket is None:
                self._socket, bound = listen(parse_listen(self.spec.listen))
                self.spec = msgspec.structs.replace(self.spec, listen=bound.authority)
            self._process = GatewayProcess(
                self._loop, self.spec, self._socket, self._log, self._reported, self._ended
            )
        except SireError as error:
            self._failed(error)
        except OSError as problem:
            self._failed(ServiceFailed(f"The gateway cannot be started: {error_text(problem)}."))
        else:
            self._timer = self._loop.call_later(START_SECONDS, self._late)

    def stop(self) -> None:
        """Have the process end after its requests in progress; it is not started again."""
        if self._state == "stopping":
            return
        self._cancel_timer()
        self._become("stopping")
        if self._process is None:
            self._finish()
        else:
            self._process.terminate()

    def kill(self) -> None:
        """Kill the process."""
        if self._process is not None:
            self._process.kill()

    async def gone(self, seconds: float) -> None:
        """Wait for the end of a service that is stopping; its process is killed after a time."""
        done, _ = await asyncio.wait((self._gone,), timeout=seconds)
        if not done:
            self.kill()
            await self._gone

    def _reported(self, report: GatewayReport) -> None:
        if report.code:
            self._why = error_from(report.code, report.message, report.hint, {})
            return
        if self._state != "starting":
            return
        self._cancel_timer()
        self.addresses = report.addresses
        self._become("running")
        if self._started is not None and not self._started.done():
            self._started.set_result(None)

    def _late(self) -> None:
        self._why = ServiceFailed(
            f"The gateway {self.spec.name} did not take requests within {START_SECONDS:g} s."
        )
        self.kill()

    def _ended(self, how: str) -> None:
        assert self._process is not None
        lines, self._process = tuple(self._process.last_lines()), None
        self._cancel_timer()
        if self._state == "stopping":
            self._finish()
            return
        why, self._why = self._why, None
        self._output = () if why else lines
        if self._state == "running" and time.monotonic() - self._since >= STEADY_SECONDS:
            self._backoff.answered()
        self._failed(why or ServiceFailed(f"The gateway {self.spec.name} ended ({how})."))

    def _failed(self, error: SireError) -> None:
        self._error = error
        if self._started is not None and not self._started.done():
            self._close_socket()
            self._log.unlink(missing_ok=True)
            error.message += "".join(f"\n  {line}" for line in self._output)
            self._started.set_exception(error)
            return
        now = time.monotonic()
        self._backoff.crashed(now, self._rules())
        delay = max(0.0, self._backoff.until - now)
        if delay:
            self._close_socket()
        self._become("restarting")
        self._restarts += 1
        self._timer = self._loop.call_later(delay, self.start)

    def _become(self, state: ServiceState) -> None:
        self._state, self._since = state, time.monotonic()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _finish(self) -> None:
        self._close_socket()
        if self._started is not None and not self._started.done():
            self._started.set_exception(Cancelled(f"The service {self.spec.name} was stopped."))
        if not self._gone.done():
            self._gone.set_result(None)

    def _close_socket(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
