"""The outputs of a prediction as a response over HTTP: JSON, and the bytes of tensors behind it."""

from typing import Any

import numpy as np
import orjson
from starlette.responses import Response

from sire.errors import InvalidInput, shown
from sire.protocol.content import Buffer
from sire.tensors import DTYPES
from sired.gateway.oip.datatypes import BF16, dtype_of, from_bf16
from sired.gateway.oip.inference import InferRequest
from sired.gateway.oip.models import VERSION
from sired.gateway.oip.outputs import OutputTensor

_HEADER_LENGTH = "inference-header-content-length"


def response(model: str, request: InferRequest, outputs: list[OutputTensor]) -> Response:
    """The response with these outputs, each as JSON or as bytes behind it.

    Raises:
        InvalidInput: JSON cannot represent one.
    """
    by_default = request.parameters.get("binary_data_output") is True
    binary = {one.name: one.parameters.get("binary_data", by_default) for one in request.outputs}
    heads: list[dict[str, Any]] = []
    bodies: list[Buffer] = []
    for output in outputs:
        head: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": output.shape,
        }
        if binary.get(output.name, by_default):
            body = output.binary
            head["parameters"] = {"binary_data_size": memoryview(body).nbytes}
            bodies.append(body)
        else:
            head["data"] = _data(output)
        heads.append(head)
    whole = {"model_name": model, "model_version": VERSION, "outputs": heads}
    if request.id:
        whole["id"] = request.id
    header = orjson.dumps(whole, option=orjson.OPT_SERIALIZE_NUMPY)
    if not bodies:
        return Response(header, media_type="application/json")
    headers = {_HEADER_LENGTH: str(len(header))}
    return Response(b"".join([header, *bodies]), 200, headers, "application/octet-stream")


def _data(output: OutputTensor) -> Any:
    """The elements in one list, as JSON has them."""
    if output.texts is not None:
        if any(isinstance(text, bytes) for text in output.texts):
            raise InvalidInput(
                f"The output {shown(output.name)} has bytes that are not text.",
                hint="Request it as binary data.",
            )
        return output.texts
    if output.datatype == BF16:
        array = from_bf16(output.content)
    else:
        array = np.frombuffer(output.content, DTYPES[dtype_of(output.datatype)])
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidInput(
            f"The output {shown(output.name)} has NaN or infinity, which JSON lacks.",
            hint="Request it as binary data.",
        )
    return array.astype(array.dtype.newbyteorder("="), copy=False)
