"""``/v1/rerank``, as Cohere, Jina, vLLM and llama.cpp have it: which documents fit a query best."""

import asyncio
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from starlette.responses import Response

from sire.errors import InvalidInput
from sire.json_file import read_json
from sire.protocol.content import JSON
from sire.protocol.replies import ModelInfo
from sire.protocol.requests import Predict
from sired.gateway.call import Call
from sired.gateway.describe import describe
from sired.gateway.embedding import embedded
from sired.gateway.errors import json_response
from sired.gateway.fields import Accepted, read_fields

_ACCEPTED = Accepted(without_effect=frozenset({"user"}))
_CLASSIFIER = "ForSequenceClassification"


class Document(msgspec.Struct, frozen=True):
    """A document that is given as an object."""

    text: str


class RerankRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``/v1/rerank``.

    Attributes:
        top_n: how many documents are wanted; None for all.
        return_documents: whether the answer repeats the documents.
    """

    model: str
    query: str
    documents: Annotated[tuple[str | Document, ...], msgspec.Meta(min_length=1)]
    top_n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    return_documents: bool = False

    @property
    def texts(self) -> list[str]:
        """The documents' texts."""
        return [one.text if isinstance(one, Document) else one for one in self.documents]


@describe(RerankRequest)
async def rerank(call: Call) -> Response:
    """Order documents by how well they fit a query, the best first.

    A cross-encoder scores pairs; with a model of embeddings the score is the cosine of vectors.

    Raises:
        InvalidInput: the model does neither.
    """
    wanted = read_fields(call.json(), RerankRequest, _ACCEPTED)
    info = await call.choose(wanted.model)
    labels = await asyncio.to_thread(_labels, info)
    if labels is None:
        scores = await _cosines(call, info, wanted)
    elif labels == 1:
        scores = await _classified(call, info, wanted)
    else:
        raise InvalidInput(
            f"{info.model.name} classifies texts by {labels} labels; a model that ranks has one.",
            hint="Use a cross-encoder, or a model of the task embeddings.",
            param="model",
        )
    best = sorted(range(len(scores)), key=lambda place: -scores[place])[: wanted.top_n]
    results = [_result(wanted, place, scores[place]) for place in best]
    body = {"id": f"rerank-{uuid.uuid4().hex}", "model": info.model.name, "results": results}
    return json_response(body)


def _result(wanted: RerankRequest, place: int, score: float) -> dict[str, Any]:
    document = {"document": {"text": wanted.texts[place]}} if wanted.return_documents else {}
    return {"index": place, "relevance_score": score, **document}


def _labels(info: ModelInfo) -> int | None:
    """The number of labels of a model that classifies texts; None for another model.

    The daemon's description of a model does not have it, and an answer has only the best label.

    Raises:
        InvalidModel: the config in the model's directory cannot be read.
    """
    if info.model.runtime != "huggingface" or info.model.args.get("task") == "embeddings":
        return None
    config = read_json(Path(info.model.path) / "config.json")
    kinds = config.get("architectures") or ()
    if not any(str(kind).endswith(_CLASSIFIER) for kind in kinds):
        return None
    names, count = config.get("id2label"), config.get("num_labels")
    # As transformers' configs do: two labels unless they say otherwise.
    return len(names) if isinstance(names, dict) else count if isinstance(count, int) else 2


async def _classified(call: Call, info: ModelInfo, wanted: RerankRequest) -> Sequence[float]:
    """The score of the only label of each pair, as transformers' pipeline has it."""
    pairs = [{"text": wanted.query, "text_pair": text} for text in wanted.texts]
    request = Predict(model=info.model.name, content_type=JSON, accept=JSON)
    _, frames = await call.models.daemon.predict(request, [msgspec.json.encode(pairs)])
    scores = _scored.decode(b"".join(frames)).score
    assert len(scores) == len(pairs), "a model answers each item"
    return scores


class _Scored(msgspec.Struct, frozen=True):
    score: tuple[float, ...]


_scored = msgspec.json.Decoder(_Scored)


async def _cosines(call: Call, info: ModelInfo, wanted: RerankRequest) -> Sequence[float]:
    vectors = (await embedded(call, info, [wanted.query, *wanted.texts])).astype(np.float64)
    lengths = np.linalg.norm(vectors, axis=1)
    vectors /= np.where(lengths > 0, lengths, 1.0)[:, None]
    found: list[float] = (vectors[1:] @ vectors[0]).tolist()
    return found
