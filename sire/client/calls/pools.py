"""What ``ModelManager`` can do about the instances of a model."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any

from sire.client.calls.leased_instance import LeasedInstance
from sire.client.connection import Connection
from sire.errors import DaemonUnavailable
from sire.protocol.replies import Leased, PoolReport, Unloaded
from sire.protocol.requests import Acquire, PoolStats, Predict, Release, Shrink

# The daemon watches deadlines itself; the client only guards against one that hangs.
_GRACE_SECONDS = 5.0


class PoolCalls(ABC):
    """Leasing, counting and ending instances."""

    @abstractmethod
    def _connection(self) -> AbstractContextManager[Connection]:
        """A connection to the daemon."""

    @abstractmethod
    def _run(self, request: Predict, data: Any) -> Any:
        """Make one prediction."""

    @contextmanager
    def acquire(
        self, name: str, timeout: float | None = None, *, destroy_after_use: bool = False
    ) -> Iterator[LeasedInstance]:
        """Have one instance of a model to oneself, for the length of a ``with`` block.

        Args:
            name: a registered model; it is loaded first where it is not.
            timeout: seconds to wait for an instance, loading included.
            destroy_after_use: end its process afterwards, instead of letting others use it.

        Raises:
            ModelNotFound: no model has this name.
            DeadlineExceeded: no instance was free within ``timeout``.
            InsufficientMemory: and LoadFailed: as they say.
        """
        request = Acquire(name=name, timeout=timeout, destroy_after_use=destroy_after_use)
        with self._connection() as connection:
            leased = connection.expect(Leased, request, timeout=reply_timeout(timeout))

        def run(data: Any, seconds: float | None) -> Any:
            return self._run(Predict(model=name, timeout=seconds, lease=leased.lease), data)

        try:
            yield LeasedInstance(name, leased.instance, run)
        finally:
            # A daemon that is gone holds nothing any more.
            with suppress(DaemonUnavailable), self._connection() as connection:
                connection.ask(Release(lease=leased.lease))

    def pool_stats(self, name: str) -> dict[str, int]:
        """How many instances a model has.

        Returns:
            ``available`` (loaded and free for anybody), ``in_use`` (leased or at work), ``total``
            (loaded or loading) and ``max_instances``.

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
            keep: how many of each are to stay; None for the least number it was registered with.

        Returns:
            How many were ended, once their memory is free.

        Raises:
            ModelNotFound: no model has this name.
        """
        with self._connection() as connection:
            return connection.expect(Unloaded, Shrink(name=name, keep=keep)).instances

    def cleanup(self) -> int:
        """Unload every model that is idle and not pinned; returns how many instances ended."""
        return self.shrink(keep=0)


def reply_timeout(timeout: float | None) -> float | None:
    """How long to wait for a reply to what the daemon is to do within ``timeout`` seconds."""
    return None if timeout is None else timeout + _GRACE_SECONDS
