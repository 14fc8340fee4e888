"""Copies inputs to a GPU while it computes something else."""

from dataclasses import dataclass
from typing import Any

import torch

from sired.runtimes.pytorch.data import tensors_in, to_tensors


@dataclass(frozen=True, slots=True)
class PendingCopy:
    """Inputs as tensors on the GPU, valid once the event ``arrived`` has occurred."""

    value: Any
    arrived: torch.cuda.Event


class Copies:
    """Copies inputs to one GPU on a separate stream, from pinned memory.

    From pageable memory the driver copies in two steps, and waits for the GPU's current work.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def send(self, data: Any, precision: torch.dtype | None) -> PendingCopy:
        """Start copying every array in the data; see ``to_tensors``."""
        with torch.cuda.stream(self._stream):
            value = to_tensors(data, self._device, precision, pinned=True)
            return PendingCopy(value, self._stream.record_event())

    def receive(self, sent: PendingCopy) -> Any:
        """The tensors, for use on the current stream, which waits for the copy."""
        stream = torch.cuda.current_stream(self._device)
        stream.wait_event(sent.arrived)
        for tensor in tensors_in(sent.value):
            # Their memory must not be reused before this stream is done with it, either.
            tensor.record_stream(stream)
        return sent.value
