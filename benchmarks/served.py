"""A model served by sire, and the same model in this process."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from benchmarks import models
from benchmarks.workloads import Workload
from sire.client.connection import Connection
from sire.protocol.requests import Register
from sire.spec import ModelSpec, Signature, TensorSpec


@dataclass(frozen=True, slots=True)
class Served:
    """A workload that sire knows.

    Attributes:
        weights: the file of the model.
        call: runs the model on the workload's input in this process, and nothing else.
        answer: the bytes of what the model answers.
    """

    workload: Workload
    weights: Path
    call: Callable[[], object]
    answer: bytes


def serve(workload: Workload, directory: Path, device: str = "cpu") -> Served:
    """Make the model of a workload, keep it in a directory and register it, with batches too.

    Args:
        workload: which model, what to call it, and whether batches of it are measured.
        directory: where its file is to be.
        device: where sire and this process run it. Input and answer are in main memory.
    """
    torch.manual_seed(0)
    model = getattr(models, workload.class_name)().eval()
    weights = directory / f"{workload.model}.safetensors"
    save_file(model.state_dict(), weights)
    _register(workload, weights, device)
    if workload.batches > 1:
        _register(workload.batched(), weights, device)
    x = torch.frombuffer(bytearray(workload.data), dtype=torch.float32).view(workload.shape)

    model.to(device)

    @torch.inference_mode()
    def call() -> torch.Tensor:
        answer: torch.Tensor = model(x.to(device)).cpu()
        return answer

    return Served(workload, weights, call, call().numpy().tobytes())


def _register(workload: Workload, weights: Path, device: str) -> None:
    spec = ModelSpec(
        name=workload.model,
        path=str(weights),
        model_class=f"{models.__file__}:{workload.class_name}",
        device=device,
        batch_size=workload.batch,
        concurrency=workload.concurrency,
        signature=Signature(inputs=(TensorSpec("", "float32", (-1, *workload.shape[1:])),)),
    )
    with Connection(autostart=False) as connection:
        connection.ask(Register(model=spec))
