"""Inputs on their way to a GPU, while it computes something else."""

from dataclasses import dataclass
from typing import Any

import torch

from sired.runtimes.pytorch.data import tensors_in, to_tensors


@dataclass(frozen=True, slots=True)
class PendingCopy:
    """Inputs as tensors on the GPU, of use once ``arrived`` has happened."""

    value: Any
    arrived: torch.cuda.Event


class Copies:
    """Copies inputs to one GPU on a stream of their own, out of pinned memory.

    A copy out of other memory is made by the driver in two steps, and waits for what the GPU is at.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(self, data: Any, precision: torch.dtype | None) -> PendingCopy:
        """Begin to copy every array in the data; see ``to_tensors``."""
        with torch.cuda.stream(self._stream):
            value = to_tensors(data, self._device, precision, pinned=True)
            return PendingCopy(value, self._stream.record_event())

    def receive(self, sent: PendingCopy) -> Any:
        """The tensors, for use on the current stream: what is computed there waits for them."""
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(sent.arrived)
        for tensor in tensors_in(sent.value):
            # Their memory may not be given to others before this stream is done with it, either.
            tensor.record_stream(stream)
        return sent.value
