"""Triton with a Python model, by pytriton: start one. Its clients are those of the gateway."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tritonclient.utils import InferenceServerException

from benchmarks.gateway.clients import GrpcClient
from benchmarks.peers.process import Peer, free_port
from benchmarks.workloads import Workload


class TritonPorts(NamedTuple):
    """Where it listens."""

    http: int
    grpc: int


@contextmanager
def triton_server(workload: Workload, weights: Path) -> Iterator[TritonPorts]:
    """A server of the workload's model, with an input x and an output y, once it answers."""
    ports = TritonPorts(free_port(), free_port())
    with tempfile.TemporaryDirectory(prefix="triton-") as directory:
        options = [str(ports.http), str(ports.grpc), str(free_port()), workload.model, directory]
        peer = Peer("triton", ".venv-triton", "benchmarks.peers.triton_server", options)
        with peer.running(workload, weights, partial(_answers, ports, workload)):
            yield ports


def _answers(ports: TritonPorts, workload: Workload) -> bool:
    with closing(GrpcClient(ports.grpc, workload, "x", "y")) as client:
        try:
            client.ask(workload.data)
        except InferenceServerException:
            return False
    return True
