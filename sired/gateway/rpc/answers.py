"""Outputs as responses of gRPC."""

from google.protobuf.message import Message

from sire.errors import SireError
from sired.gateway.oip.inference import InferRequest
from sired.gateway.oip.models import VERSION
from sired.gateway.oip.outputs import OutputTensor
from sired.gateway.rpc.errors import text_of
from sired.gateway.rpc.schema import METHODS

_WHOLE = METHODS["ModelInfer"].response
_IN_STREAM = METHODS["ModelStreamInfer"].response
_FINAL = "triton_final_response"


def response(
    model: str, request: InferRequest, outputs: list[OutputTensor], *, final: bool | None = None
) -> Message:
    """The response with these outputs, all of them as raw contents.

    Args:
        model: its name.
        request: what was asked.
        outputs: in the order in which they are sent.
        final: in a stream, whether it is the last response to the request.
    """
    return _WHOLE(
        model_name=model,
        model_version=VERSION,
        id=request.id,
        parameters={} if final is None else {_FINAL: {"bool_param": final}},
        outputs=[
            {"name": one.name, "datatype": one.datatype, "shape": one.shape} for one in outputs
        ],
        raw_output_contents=[bytes(one.binary) for one in outputs],
    )


def in_stream(response: Message) -> Message:
    """A response in a stream."""
    return _IN_STREAM(infer_response=response)


def error_in_stream(number: str, error: SireError) -> Message:
    """An error in a stream, which goes on.

    Args:
        number: the id of the request.
        error: what happened.
    """
    return _IN_STREAM(error_message=text_of(error), infer_response={"id": number})
