"""``/v1/embeddings``."""

import base64
import math

import msgspec
import numpy as np
from starlette.responses import Response

from sire.errors import InvalidInput
from sire.protocol.content import JSON, TENSORS, Payload
from sire.protocol.replies import Prediction
from sire.protocol.requests import Predict
from sire.tensors import unpack
from sired.gateway.call import Call
from sired.gateway.errors import json_response
from sired.gateway.openai.requests import EmbeddingRequest, read

_MATRIX = 2


async def embed(call: Call) -> Response:
    """The vectors of texts. The answer has no usage: tokens are counted by no model here.

    Raises:
        InvalidInput: the model does not answer texts with vectors.
    """
    wanted = read(call.json(), EmbeddingRequest)
    texts = [wanted.input] if isinstance(wanted.input, str) else list(wanted.input)
    request = Predict(model=call.models.check(wanted.model), content_type=JSON, accept=TENSORS)
    reply, frames = await call.models.daemon.predict(request, [msgspec.json.encode(texts)])
    assert isinstance(reply, Prediction)
    vectors = unpack(Payload(reply.content_type, tuple(frames), reply.tensors))
    if (
        not isinstance(vectors, np.ndarray)
        or vectors.shape[:1] != (len(texts),)
        or (vectors.ndim != _MATRIX or vectors.dtype.kind != "f")
    ):
        raise InvalidInput(
            f"{wanted.model} does not answer texts with vectors.",
            hint="Use a model of the task embeddings.",
            param="model",
        )
    if wanted.dimensions is not None:
        vectors = _shortened(vectors, wanted.dimensions)
    data = [
        {"object": "embedding", "index": place, "embedding": _encoded(row, wanted.encoding_format)}
        for place, row in enumerate(vectors.astype("<f4", copy=False))
    ]
    return json_response({"object": "list", "model": wanted.model, "data": data})


def _encoded(
    row: "np.ndarray[tuple[int], np.dtype[np.float32]]", encoding: str
) -> str | list[float]:
    return base64.b64encode(row.tobytes()).decode() if encoding == "base64" else row.tolist()


def _shortened(
    vectors: "np.ndarray[tuple[int, int], np.dtype[np.floating]]", dimensions: int
) -> "np.ndarray[tuple[int, int], np.dtype[np.floating]]":
    """The first numbers of each vector, scaled to length 1 as OpenAI's are.

    Raises:
        InvalidInput: vectors are not that long.
    """
    if not 1 <= dimensions <= vectors.shape[1]:
        raise InvalidInput(
            f"dimensions is {dimensions}; the model's vectors have {vectors.shape[1]}.",
            param="dimensions",
        )
    short = vectors[:, :dimensions]
    lengths = np.linalg.norm(short, axis=1, keepdims=True)
    return short / np.where(lengths > 0, lengths, math.inf)
