"""Runs a model on the tensors of a request, for HTTP and gRPC alike."""

from collections.abc import Sequence

from sire.protocol.content import Buffer, Payload
from sire.protocol.replies import Prediction
from sired.gateway.oip.inference import InferRequest, prediction
from sired.gateway.oip.outputs import OutputTensor, outputs_of, wanted_outputs
from sired.gateway.served import ServedModels


async def infer(
    models: ServedModels, name: str, request: InferRequest, contents: Sequence[Buffer | None]
) -> list[OutputTensor]:
    """The outputs that a request asks for.

    Args:
        models: what is served.
        name: of the model.
        request: what was asked.
        contents: the bytes of each input's elements; None for one that has ``data``.

    Raises:
        SireError: the errors of a prediction.
    """
    signature = await models.signature(name)
    predict, payload = prediction(name, request, contents, signature)
    reply, frames = await models.daemon.predict(predict, payload)
    assert isinstance(reply, Prediction)
    if not signature.outputs:  # it was not loaded before
        signature = await models.signature(name, answered=True)
    answer = Payload(reply.content_type, tuple(frames), reply.tensors)
    return wanted_outputs(request, outputs_of(answer, signature))
