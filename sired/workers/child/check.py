"""The model that ``sire health --deep`` loads, which needs no file."""

from typing import Any


class EchoModel:
    """Returns its input."""

    def load(self, path: str) -> None:
        """Do nothing."""

    def predict(self, data: Any) -> Any:
        """The input, unchanged."""
        return data
