"""What can be said of how a PyTorch model is run: ``--arg name=value``, beside its class's own."""

import inspect
from collections.abc import Collection, Mapping
from typing import Any, Literal

import msgspec
import torch

from sired.runtimes.support.options import read_record, refuse_unknown

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TorchOptions(msgspec.Struct, frozen=True):
    """How a model is run; every one can be left out.

    Attributes:
        dtype: what its weights, and the inputs that are floats, are converted to. Answers in half
            precision are then given back as float32.
        channels_last: keep pictures, and the weights that go over them, with channels last.
        compile: run it through ``torch.compile``, which is done when it is loaded.
        cudnn_benchmark: have cuDNN try its ways of convolving for each new shape, on a GPU.
    """

    dtype: Literal["fp32", "fp16", "bf16"] | None = None
    channels_last: bool = False
    compile: bool = False
    cudnn_benchmark: bool = False

    @property
    def precision(self) -> torch.dtype | None:
        """The dtype of weights and inputs; None for that of the file."""
        return None if self.dtype is None else _DTYPES[self.dtype]


OPTIONS = TorchOptions.__struct_fields__


def split_arguments(given: Mapping[str, Any], kind: type) -> tuple[TorchOptions, dict[str, Any]]:
    """A model's arguments, apart into options and those of its class's constructor.

    What the constructor has a parameter for is the constructor's, also if an option is called so.

    Raises:
        InvalidModel: an option has a value that it cannot have.
    """
    named = inspect.signature(kind).parameters
    options = {n: value for n, value in given.items() if n in OPTIONS and n not in named}
    rest = {name: value for name, value in given.items() if name not in options}
    return read_record(TorchOptions, options, kind.__name__), rest


def only_options(given: Mapping[str, Any], owner: str, takes: Collection[str]) -> TorchOptions:
    """The arguments of a model without a class.

    Args:
        given: by name.
        owner: what it is, to begin a sentence.
        takes: the options that there are for such a model.

    Raises:
        InvalidModel: one is none of these, or has a value that it cannot have.
    """
    refuse_unknown(given, takes, f"{owner} takes no argument")
    return read_record(TorchOptions, given, owner)
