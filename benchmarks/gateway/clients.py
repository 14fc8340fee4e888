"""Clients of the Open Inference Protocol: over HTTP by hand, over gRPC as users have it."""

import json
import math

import numpy as np
import tritonclient.grpc as triton

from benchmarks.http_client import HttpClient
from benchmarks.workloads import Workload

_HOST = "127.0.0.1"


class OipClient:
    """The Open Inference Protocol over HTTP, with binary tensors both ways, as tritonclient has it.

    Args:
        port: of the server.
        workload: which model is asked for.
        tensor: the name of its input.
    """

    def __init__(self, port: int, workload: Workload, tensor: str = "input_0") -> None:
        size = math.prod(workload.shape) * 4
        one = {"name": tensor, "shape": workload.shape, "datatype": "FP32"}
        header = {
            "inputs": [{**one, "parameters": {"binary_data_size": size}}],
            "parameters": {"binary_data_output": True},
        }
        self._json = json.dumps(header, separators=(",", ":")).encode()
        headers = f"inference-header-content-length: {len(self._json)}\r\n"
        path = f"/v2/models/{workload.model}/infer"
        self._client = HttpClient(port, path, headers)

    def ask(self, data: bytes) -> memoryview:
        """One prediction."""
        head, body = self._client.answer(self._json + data)
        _, _, length = head.partition(b"inference-header-content-length: ")
        return body[int(length.partition(b"\r")[0]) :]

    def close(self) -> None:
        """Close the socket."""
        self._client.close()


class GrpcClient:
    """The Open Inference Protocol over gRPC, by tritonclient.

    Args:
        port: of the server.
        workload: which model is asked for.
        tensor: the name of its input.
        output: the name of its output.
    """

    def __init__(
        self, port: int, workload: Workload, tensor: str = "input_0", output: str = "output_0"
    ) -> None:
        self._client = triton.InferenceServerClient(f"{_HOST}:{port}")
        self._model, self._shape, self._output = workload.model, workload.shape, output
        self._input = triton.InferInput(tensor, list(workload.shape), "FP32")

    def ask(self, data: bytes) -> memoryview:
        """One prediction."""
        self._input.set_data_from_numpy(np.frombuffer(data, np.float32).reshape(self._shape))
        answer = self._client.infer(self._model, [self._input]).as_numpy(self._output)
        return memoryview(answer).cast("B")

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
