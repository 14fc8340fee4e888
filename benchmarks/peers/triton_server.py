"""Serve one model of ``benchmarks.models`` with pytriton; run by ``.venv-triton``, not imported.

    python -m benchmarks.peers.triton_server HTTP_PORT GRPC_PORT METRICS_PORT NAME DIRECTORY

``PEER_MODEL`` names the class, ``PEER_WEIGHTS`` its safetensors file, and ``PEER_SHAPE`` the shape
of one request (``1,768``). Requests are not batched.
"""

import os
import sys
from typing import Any

import numpy as np
import torch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from safetensors.torch import load_file

from benchmarks import models

SHAPE = tuple(int(length) for length in os.environ["PEER_SHAPE"].split(","))


def serve(http: int, grpc: int, metrics: int, name: str, directory: str) -> None:
    """Serve until the process is killed."""
    model = getattr(models, os.environ["PEER_MODEL"])().eval()
    model.load_state_dict(load_file(os.environ["PEER_WEIGHTS"]))

    @torch.inference_mode()
    def infer(requests: Any) -> Any:
        return [{"y": model(torch.from_numpy(one["x"])).numpy()} for one in requests]

    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=http,
        grpc_address="127.0.0.1",
        grpc_port=grpc,
        metrics_port=metrics,
        log_verbose=0,
    )
    with Triton(config=config, workspace=f"{directory}/work") as triton:
        triton.bind(
            model_name=name,
            infer_func=infer,
            inputs=[Tensor(name="x", dtype=np.float32, shape=SHAPE)],
            outputs=[Tensor(name="y", dtype=np.float32, shape=(-1, -1))],
            config=ModelConfig(batching=False),
        )
        triton.serve()


if __name__ == "__main__":
    serve(*(int(port) for port in sys.argv[1:4]), *sys.argv[4:6])
