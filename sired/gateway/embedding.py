"""Vectors of texts, for every dialect."""

import math

import msgspec
import numpy as np

from sire.errors import InvalidInput
from sire.protocol.content import JSON, TENSORS, Payload
from sire.protocol.replies import ModelInfo, Prediction
from sire.protocol.requests import Predict
from sire.spec import KeepAlive
from sire.tensors import unpack
from sired.gateway.call import Call

_MATRIX = 2
Vectors = np.ndarray[tuple[int, int], np.dtype[np.float32]]


async def embedded(
    call: Call,
    info: ModelInfo,
    texts: list[str],
    dimensions: int | None = None,
    keep_alive: KeepAlive = None,
) -> Vectors:
    """The vectors of texts, float32[texts, dimensions].

    Args:
        call: the request that they are for.
        info: the model.
        texts: at least one.
        dimensions: how many numbers of each vector are wanted; None for all.
        keep_alive: how long the model stays loaded afterwards; None for its own setting.

    Raises:
        InvalidInput: the model does not answer texts with vectors, or with shorter ones.
    """
    model, in_ollama = info.model.name, info.model.runtime == "ollama"
    body = {"input": texts} if in_ollama else texts
    request = Predict(model=model, content_type=JSON, accept=TENSORS, keep_alive=keep_alive)
    reply, frames = await call.models.daemon.predict(request, [msgspec.json.encode(body)])
    assert isinstance(reply, Prediction)
    vectors = unpack(Payload(reply.content_type, tuple(frames), reply.tensors))
    if in_ollama and isinstance(vectors, dict):
        vectors = vectors.get("embeddings")
    if (
        not isinstance(vectors, np.ndarray)
        or vectors.shape[:1] != (len(texts),)
        or (vectors.ndim != _MATRIX or vectors.dtype.kind != "f")
    ):
        raise InvalidInput(
            f"{model} does not answer texts with vectors.",
            hint="Use a model of the task embeddings.",
            param="model",
        )
    if dimensions is not None:
        vectors = _shortened(vectors, dimensions)
    single: Vectors = vectors.astype("<f4", copy=False)
    return single


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
