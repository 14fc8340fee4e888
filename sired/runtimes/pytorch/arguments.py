"""The arguments of the runtime ``pytorch``: how a model is run, besides its class's arguments."""

import inspect
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from sired.runtimes.arguments import read_arguments


class TorchOptions(msgspec.Struct, frozen=True):
    """How a model is run; each field can be left out.

    Attributes:
        dtype: of the weights, and of inputs that are floats, which are converted to it. Outputs
            in half precision are then returned as float32.
        channels_last: keep images, and the weights applied to them, with channels last in memory.
        compile: run the model through ``torch.compile``, which happens when it is loaded.
        cudnn_benchmark: have cuDNN time its convolution algorithms for each new shape, on a GPU.
        key: where a checkpoint has the weights, dotted; "" for the whole file.
        strip: the prefix to remove from the names of the weights; "" to remove none.
        strict: reject a file with weights that the class does not have; else they are ignored.
    """

    dtype: Literal["fp32", "fp16", "bf16"] | None = None
    channels_last: bool = False
    compile: bool = False
    cudnn_benchmark: bool = False
    key: str | None = None
    strip: str | None = None
    strict: bool = True


OPTIONS = TorchOptions.__struct_fields__


def split_arguments(given: Mapping[str, Any], kind: type) -> tuple[TorchOptions, dict[str, Any]]:
    """Split a model's arguments into options and those of its class's constructor.

    A parameter of the constructor takes precedence over an option of the same name.

    Raises:
        InvalidModel: an option has a value of the wrong type.
    """
    named = inspect.signature(kind).parameters
    options = {n: value for n, value in given.items() if n in OPTIONS and n not in named}
    rest = {name: value for name, value in given.items() if name not in options}
    return read_arguments(TorchOptions, options, kind.__name__), rest
