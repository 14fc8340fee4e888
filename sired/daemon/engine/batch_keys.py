"""Which requests of a model may run together, judged without decoding their input."""

from sire.protocol.requests import Predict
from sire.spec import Signature


def fit(request: Predict, signature: Signature) -> tuple[str | None, int]:
    """The key shared by requests that may run together, and the number of rows of this one.

    The worker compares shapes after decoding: an image has no shape before. A model whose signature
    is not known yet is assumed to accept batches, and its worker checks.

    Returns:
        The key, None if the request has to run alone; and the rows, 1 if the shape is not given.
    """
    if signature.inputs and not signature.batchable:
        return None, 1
    if not (request.tensors and signature.inputs):
        return "", 1
    given, taken = request.tensors[0].shape, signature.inputs[0].shape
    return "", given[0] if given and len(given) == len(taken) else 1
