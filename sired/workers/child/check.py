"""The model that ``sire health --deep`` loads: nothing of anybody's is needed for it."""

from typing import Any


class EchoModel:
    """Answers what it is asked."""

    def load(self, path: str) -> None:
        """There is nothing to load."""

    def predict(self, data: Any) -> Any:
        """The same again."""
        return data
