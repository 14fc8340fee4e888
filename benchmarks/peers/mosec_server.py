"""Serve one model of ``benchmarks.models`` with mosec; run by ``.venv-peer``, not imported.

``--port`` and mosec's other options are mosec's own. ``PEER_MODEL`` names the class,
``PEER_WEIGHTS`` its safetensors file, ``PEER_SHAPE`` the shape of one request (``1,768``) and
``PEER_BATCH`` how many requests may run together: 1 for no batching.
"""

import os
import warnings
from typing import Any

import torch
from mosec import Server, Worker
from safetensors.torch import load_file

from benchmarks import models

BATCH = int(os.environ["PEER_BATCH"])
SHAPE = tuple(int(length) for length in os.environ["PEER_SHAPE"].split(","))


class Model(Worker):  # type: ignore[misc]
    """Float32 bytes in, float32 bytes out: nothing is parsed, and nothing copied needlessly."""

    resp_mime_type = "application/octet-stream"

    def __init__(self) -> None:
        super().__init__()
        # The inputs are only read; and batches of big ones are what was asked for.
        warnings.simplefilter("ignore")
        self._model = getattr(models, os.environ["PEER_MODEL"])().eval()
        self._model.load_state_dict(load_file(os.environ["PEER_WEIGHTS"]))

    def deserialize(self, data: bytes) -> torch.Tensor:
        """View the request's bytes as the input."""
        return torch.frombuffer(data, dtype=torch.float32).view(SHAPE)

    def serialize(self, data: torch.Tensor) -> bytes:
        """Write the answer as its bytes."""
        return data.numpy().tobytes()

    @torch.inference_mode()
    def forward(self, data: Any) -> Any:
        """Run the model on one input, or on a list of them when batches are allowed."""
        if BATCH == 1:
            return self._model(data)
        if len(data) == 1:
            return [self._model(data[0])]
        return self._model(torch.cat(data)).split(1)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Model, num=1, max_batch_size=BATCH, max_wait_time=1)
    server.run()
