"""Methods of ``ModelManager`` for the instances of a model."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from sire.client.calls.leased_instance import LeasedInstance
from sire.client.daemon_client import DaemonClient
from sire.errors import DaemonUnavailable
from sire.protocol.replies import Leased, PoolReport, Unloaded
from sire.protocol.requests import Acquire, PoolStats, Predict, Release, Shrink

# The daemon enforces deadlines; this only covers a daemon that hangs.
_GRACE_SECONDS = 5.0


class PoolCalls(ABC):
    """Leasing, counting and ending instances."""

    @abstractmethod
    def _connection(self) -> AbstractContextManager[DaemonClient]:
        """A connection to the daemon."""

    @abstractmethod
    def _run(self, request: Predict, data: Any) -> Any:
        """Make one prediction."""

    @contextmanager
    def acquire(
        self, name: str, timeout: float | None = None, *, destroy_after_use: bool = False
    ) -> Iterator[LeasedInstance]:
        """Lease one instance of a model for the duration of a ``with`` block.

        Args:
            name: a registered model; it is loaded first if necessary.
            timeout: seconds to wait for an instance, including loading.
            destroy_after_use: end its process afterwards instead of returning it to the pool.

        Raises:
            ModelNotFound: no model has this name.
            DeadlineExceeded: no instance became free within ``timeout``.
            InsufficientMemory: the model does not fit, even after other models are unloaded.
            LoadFailed: the model cannot be loaded.
        """
        request = Acquire(name=name, timeout=timeout, destroy_after_use=destroy_after_use)
        with self._connection() as connection:
            leased = connection.expect(Leased, request, timeout=reply_timeout(timeout))

        def run(data: Any, seconds: float | None) -> Any:
            return self._run(Predict(model=name, timeout=seconds, lease=leased.lease), data)

        try:
            yield LeasedInstance(name, leased.instance, run)
        finally:
            # A daemon that ended holds no lease.
            with suppress(DaemonUnavailable), self._connection() as connection:
                connection.ask(Release(lease=leased.lease))

    def pool_stats(self, name: str) -> dict[str, int]:
        """The number of instances of a model.

        Returns:
            ``available`` (loaded and idle), ``in_use`` (leased or busy), ``total`` (loaded or
            loading) and ``max_instances``.

        Raises:
            ModelNotFound: no model has this name.
        """
        with self._connection() as connection:
            report = connection.expect(PoolReport, PoolStats(name=name))
        return {
            "available": report.available,
            "in_use": report.in_use,
            "total": report.total,
            "max_instances": report.max_instances,
        }

    def shrink(self, name: str | None = None, keep: int | None = None) -> int:
        """End idle instances of a model, or of all models.

        Args:
            name: a registered model; None for all.
            keep: number of instances of each that stay; None for its registered minimum.

        Returns:
            The number of instances that ended, once their memory is free.

        Raises:
            ModelNotFound: no model has this name.
        """
        with self._connection() as connection:
            return connection.expect(Unloaded, Shrink(name=name, keep=keep)).instances

    def cleanup(self) -> int:
        """Unload every model that is idle and not pinned; returns the number of instances."""
        return self.shrink(keep=0)


def reply_timeout(timeout: float | None) -> float | None:
    """Seconds to wait for the reply to a request with this timeout; None for no limit."""
    return None if timeout is None else timeout + _GRACE_SECONDS
