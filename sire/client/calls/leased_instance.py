"""A leased instance of a model."""

from collections.abc import Callable
from typing import Any


class LeasedInstance:
    """One process of a model for exclusive use, from ``ModelManager.acquire``.

    Attributes:
        model: the model's name.
        instance: the instance's number, as ``sire ps --json`` shows it.
    """

    def __init__(self, model: str, instance: int, run: Callable[[Any, float | None], Any]) -> None:
        self.model = model
        self.instance = instance
        self._run = run

    def predict(self, data: Any, timeout: float | None = None) -> Any:
        """Run the model once, in this instance.

        Args:
            data: the input, as for ``ModelManager.predict``.
            timeout: seconds; None for the daemon's default.

        Returns:
            numpy arrays, numbers and strings, nested like the model's output.

        Raises:
            WorkerCrashed: the instance ended unexpectedly, and the lease with it.
            Cancelled: the instance was unloaded, and the lease ended.
            SireError: the other errors of ``ModelManager.predict``.
        """
        return self._run(data, timeout)
