"""The Python API of sire, and the code it shares with the daemon and the command line."""

from typing import TYPE_CHECKING, Any

from sire import errors

if TYPE_CHECKING:
    from sire.client.manager import ModelManager
    from sire.client.remote.model import RemoteModel

__version__ = "0.1.0"
__all__ = ["ModelManager", "RemoteModel", "__version__", "errors"]


def __getattr__(name: str) -> Any:
    # Imported on first use: the daemon and the command line do not need numpy.
    if name == "ModelManager":
        from sire.client.manager import ModelManager  # noqa: PLC0415

        return ModelManager
    if name == "RemoteModel":
        from sire.client.remote.model import RemoteModel  # noqa: PLC0415

        return RemoteModel
    raise AttributeError(f"module 'sire' has no attribute {name!r}")
