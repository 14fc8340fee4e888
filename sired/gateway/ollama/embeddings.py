"""``/api/embed`` and the older ``/api/embeddings``."""

import time

from starlette.responses import Response

from sire.protocol.replies import InstanceInfo
from sire.protocol.requests import Load
from sired.gateway.call import Call
from sired.gateway.describe import describe
from sired.gateway.embedding import embedded
from sired.gateway.errors import json_response
from sired.gateway.fields import read_fields
from sired.gateway.ollama.names import answering, choose
from sired.gateway.ollama.requests import ACCEPTED, EmbedRequest, OldEmbedRequest

_NANOSECONDS = 1e9


@describe(EmbedRequest)
async def embed(call: Call) -> Response:
    """The vectors of texts; without texts, the model is loaded.

    Raises:
        InvalidInput: the model does not answer texts with vectors.
    """
    wanted = read_fields(call.json(), EmbedRequest, ACCEPTED)
    info = await choose(call, wanted.model)
    texts = [wanted.input] if isinstance(wanted.input, str) else list(wanted.input)
    began = time.monotonic()
    if not texts:
        await call.models.daemon.expect(InstanceInfo, Load(name=info.model.name))
        return json_response({"model": answering(wanted.model, info), "embeddings": []})
    vectors = await embedded(call, info, texts, wanted.dimensions, wanted.kept())
    taken = int((time.monotonic() - began) * _NANOSECONDS)
    return json_response(
        {
            "model": answering(wanted.model, info),
            "embeddings": vectors.tolist(),
            "total_duration": taken,
        }
    )


@describe(OldEmbedRequest)
async def embed_one(call: Call) -> Response:
    """The vector of a text.

    Raises:
        InvalidInput: the model does not answer texts with vectors.
    """
    wanted = read_fields(call.json(), OldEmbedRequest, ACCEPTED)
    info = await choose(call, wanted.model)
    vectors = await embedded(call, info, [wanted.prompt], None, wanted.kept())
    return json_response({"embedding": vectors[0].tolist()})
