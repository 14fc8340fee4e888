"""Which requests of a model may run together, as far as it can be told without decoding them."""

from sire.protocol.requests import Predict
from sire.spec import Signature


def fit(request: Predict, signature: Signature) -> tuple[str | None, int]:
    """The key that requests which may run together share, and the rows of this one.

    Shapes are compared by the worker, which decodes the input: a picture has none before. A model
    of which nothing is known yet is given the benefit of the doubt; its worker knows.

    Returns:
        None for the key where it has to run alone. A row for what does not tell its shape.
    """
    if signature.inputs and not signature.batchable:
        return None, 1
    if not (request.tensors and signature.inputs):
        return "", 1
    given, taken = request.tensors[0].shape, signature.inputs[0].shape
    return "", given[0] if given and len(given) == len(taken) else 1
