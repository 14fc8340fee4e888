"""Measure everything once, print the table and keep it in ``results/latest.json``."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks import models, processes, serving
from benchmarks.report import Figure, hardware, save, table
from benchmarks.workloads import SMALL, WORKLOADS, Workload
from sired.client.connection import Connection
from sired.protocol.requests import Register
from sired.spec import ModelSpec, Signature, TensorSpec


def main() -> None:
    """Run every benchmark; about two minutes."""
    figures = []
    for figure in _figures():
        figures.append(figure)
        # Minutes pass: say what there is so far, to people only.
        print(f"  {figure.name}", file=sys.stderr)
    print(f"{hardware()}\n\n{table(figures)}")
    save(figures)


def _figures() -> Iterator[Figure]:
    with processes.private_daemon() as home:
        yield from processes.start_up()
        processes.wait_until_warm()
        for workload in WORKLOADS:
            model = _register(workload, home)
            yield from serving.measure(workload, model)
        yield from serving.cold_start(SMALL)
        data = home / "input.npy"
        np.save(data, np.zeros(SMALL.shape, np.float32))
        yield from processes.commands(SMALL, _weights(SMALL, home), data)
        yield from processes.footprints()


def _register(workload: Workload, home: Path) -> Callable[[], object]:
    """Give sire a new model, and return one call of the same model in this process."""
    torch.manual_seed(0)
    model = getattr(models, workload.class_name)().eval()
    save_file(model.state_dict(), _weights(workload, home))
    spec = ModelSpec(
        name=workload.model,
        path=str(_weights(workload, home)),
        model_class=f"{models.__file__}:{workload.class_name}",
        signature=Signature(inputs=(TensorSpec("", "float32", (-1, *workload.shape[1:])),)),
    )
    with Connection(autostart=False) as connection:
        connection.ask(Register(model=spec))
    return _call(model, torch.zeros(workload.shape))


def _call(model: torch.nn.Module, x: torch.Tensor) -> Callable[[], object]:
    @torch.inference_mode()
    def call() -> object:
        return model(x)

    return call


def _weights(workload: Workload, home: Path) -> Path:
    return home / f"{workload.model}.safetensors"


if __name__ == "__main__":
    main()
