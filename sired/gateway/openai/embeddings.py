"""``/v1/embeddings``."""

import base64

import numpy as np
from starlette.responses import Response

from sired.gateway.call import Call
from sired.gateway.describe import describe
from sired.gateway.embedding import embedded
from sired.gateway.errors import json_response
from sired.gateway.openai.requests import EmbeddingRequest, read


@describe(EmbeddingRequest)
async def embed(call: Call) -> Response:
    """The vectors of texts. The answer has no usage: tokens are counted by no model here.

    Raises:
        InvalidInput: the model does not answer texts with vectors.
    """
    wanted = read(call.json(), EmbeddingRequest)
    texts = [wanted.input] if isinstance(wanted.input, str) else list(wanted.input)
    info = await call.choose(wanted.model)
    vectors = await embedded(call, info, texts, wanted.dimensions)
    data = [
        {"object": "embedding", "index": place, "embedding": _encoded(row, wanted.encoding_format)}
        for place, row in enumerate(vectors)
    ]
    return json_response({"object": "list", "model": info.model.name, "data": data})


def _encoded(
    row: "np.ndarray[tuple[int], np.dtype[np.float32]]", encoding: str
) -> str | list[float]:
    return base64.b64encode(row.tobytes()).decode() if encoding == "base64" else row.tolist()
