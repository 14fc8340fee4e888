"""Runs a model on the tensors of a request, for HTTP and gRPC alike."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from sire.protocol.content import Buffer, Payload
from sire.protocol.replies import Part, Prediction
from sire.spec import Signature
from sired.gateway.oip.inference import InferRequest, prediction
from sired.gateway.oip.outputs import OutputTensor, outputs_of, wanted_outputs
from sired.gateway.served import ServedModels


async def infer(
    models: ServedModels, name: str, request: InferRequest, contents: Sequence[Buffer | None]
) -> list[OutputTensor]:
    """The outputs that a request asks for.

    Args:
        models: what is served.
        name: of a model or an alias.
        request: what was asked.
        contents: the bytes of each input's elements; None for one that has ``data``.

    Raises:
        SireError: the errors of a prediction.
    """
    signature = (await models.known(name)).signature
    predict, payload = prediction(name, request, contents, signature)
    reply, frames = await models.daemon.predict(predict, payload)
    assert isinstance(reply, Prediction)
    return await _outputs(models, name, request, signature, reply, frames)


async def infer_in_parts(
    models: ServedModels, name: str, request: InferRequest, contents: Sequence[Buffer | None]
) -> AsyncGenerator[tuple[list[OutputTensor], bool], None]:
    """Each part of an answer, as the model produces it: its outputs, and whether it is the last.

    After the parts, an empty one is the last; an answer that was given already is the only one.

    Args:
        models: what is served.
        name: of the model.
        request: what was asked.
        contents: the bytes of each input's elements; None for one that has ``data``.

    Raises:
        SireError: the errors of a prediction, perhaps after some parts.
    """
    signature = (await models.known(name)).signature
    predict, payload = prediction(name, request, contents, signature)
    async with aclosing(models.daemon.stream(predict, payload)) as replies:
        async for reply, frames in replies:
            assert isinstance(reply, Part | Prediction)
            last = isinstance(reply, Prediction)
            outputs = []
            if frames or not last:
                outputs = await _outputs(models, name, request, signature, reply, frames)
            yield outputs, last


async def _outputs(
    models: ServedModels,
    name: str,
    request: InferRequest,
    signature: Signature,
    reply: Part | Prediction,
    frames: list[memoryview],
) -> list[OutputTensor]:
    if not signature.outputs:  # it was not loaded before
        model = reply.model if isinstance(reply, Prediction) else await models.current(name)
        signature = await models.signature(model)
    answer = Payload(reply.content_type, tuple(frames), reply.tensors)
    return wanted_outputs(request, outputs_of(answer, signature))
