"""Names of models as Ollama's clients write them."""

from sire.errors import ModelNotFound
from sire.protocol.replies import ModelInfo
from sired.gateway.served import ServedModels

_LATEST = ":latest"


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
