"""Names of models as Ollama's clients write them."""

from sire.errors import ModelNotFound
from sire.protocol.replies import ModelInfo
from sired.gateway.call import Call
from sired.gateway.served import ServedModels

_LATEST = ":latest"


async def choose(call: Call, name: str) -> ModelInfo:
    """The model for a request, by its name, to which clients may add the tag ``:latest``.

    Raises:
        ModelNotFound: it is not registered, or not served.
    """
    try:
        return await call.choose(name)
    except ModelNotFound:
        if not name.endswith(_LATEST):
            raise
    return await call.choose(name.removesuffix(_LATEST))


async def find(models: ServedModels, name: str) -> ModelInfo:
    """A model by its name, to which clients may add the tag ``:latest``.

    Raises:
        ModelNotFound: it is not registered, or not served.
    """
    try:
        return await models.show(name)
    except ModelNotFound:
        if not name.endswith(_LATEST):
            raise
    return await models.show(name.removesuffix(_LATEST))


def answering(given: str, info: ModelInfo) -> str:
    """The name in an answer: as the client gave it, or the model that an alias stands for."""
    return given if given.removesuffix(_LATEST) == info.model.name else info.model.name
