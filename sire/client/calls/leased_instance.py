"""An instance that is leased, as Python code holds it."""

from collections.abc import Callable
from typing import Any


class LeasedInstance:
    """One process of a model that serves nobody else; from ``ModelManager.acquire``.

    Attributes:
        model: the model's name.
        instance: the instance's number, as ``sire ps --json`` shows it.
    """

    def __init__(self, model: str, instance: int, run: Callable[[Any, float | None], Any]) -> None:
        self.model = model
        self.instance = instance
        self._run = run

    def predict(self, data: Any, timeout: float | None = None) -> Any:
        """Run the model once, in this instance; see ``ModelManager.predict``.

        Raises:
            WorkerCrashed: and Cancelled: the instance ended, and the lease with it.
            SireError: whatever ``ModelManager.predict`` raises.
        """
        return self._run(data, timeout)
