"""One model of another machine, as a function of tensors."""

import sys
import time
from typing import Any, Self

import numpy as np

from sire.client.manager import ModelManager
from sire.errors import InvalidInput


class RemoteModel:
    """A model behind a gateway: a tensor in, a tensor out.

    Args:
        address: of the gateway: ``host:port``, or a URL.
        model: its name; None for the only one that is served.
        key: an API key for the gateway; None for that in ``SIRE_KEY``, if it is set.

    Raises:
        InvalidConfiguration: the address is not valid.
        InvalidInput: no model is named, and not exactly one is served.
        AccessDenied: the key is not valid.
        DaemonUnavailable: the gateway cannot be reached.
    """

    def __init__(self, address: str, model: str | None = None, key: str | None = None) -> None:
        url = address if "://" in address else f"http://{address}"
        self._manager = ModelManager(url, key=key)
        self._requests, self._seconds = 0, 0.0
        try:
            self.model = model or self._only_model()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._manager.close()

    def compute(self, tensor: Any, timeout: float | None = None) -> Any:
        """Run the model on one tensor.

        Args:
            tensor: an array or a torch tensor, of any shape and dtype that the model takes.
            timeout: seconds, including waiting and loading; None for the daemon's default.

        Returns:
            The model's only output: a torch tensor on the CPU for a torch tensor, otherwise an
            array.

        Raises:
            InvalidInput: the tensor is not a valid input, or the model has several outputs, which
                ``ModelManager.predict`` returns.
            SireError: the other errors of ``ModelManager.predict``.
        """
        began = time.perf_counter()
        answer = _only_array(self._manager.predict(self.model, tensor, timeout), self.model)
        self._requests += 1
        self._seconds += time.perf_counter() - began
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(tensor, torch.Tensor):
            return torch.from_numpy(answer)
        return answer

    def get_statistics(self) -> dict[str, float]:
        """Of the requests of this object that were answered.

        Returns:
            ``total_requests``; ``total_time_ms`` and ``avg_total_time_ms``, with the way to the
            other machine and back, 0 before the first answer.
        """
        milliseconds = self._seconds * 1e3
        return {
            "total_requests": self._requests,
            "total_time_ms": milliseconds,
            "avg_total_time_ms": milliseconds / max(self._requests, 1),
        }

    def _only_model(self) -> str:
        served = [info.model.name for info in self._manager.list_models()]
        if len(served) != 1:
            raise InvalidInput(
                f"{len(served)} models are served: {', '.join(served)}.",
                hint="Name one: RemoteModel(address, model)",
            )
        return served[0]


def _only_array(answer: Any, model: str) -> "np.ndarray[Any, np.dtype[Any]]":
    """The array that an answer consists of.

    Raises:
        InvalidInput: it consists of several.
    """
    outputs = list(answer.values()) if isinstance(answer, dict) else answer
    if isinstance(outputs, list | tuple) and len(outputs) == 1:
        (outputs,) = outputs
    if isinstance(outputs, list | tuple | dict):
        raise InvalidInput(
            f"{model} answers with several outputs.", hint="Use ModelManager.predict."
        )
    return np.asarray(outputs)
