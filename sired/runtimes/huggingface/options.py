"""What can be said of a model when it is registered: ``--arg name=value``."""

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any

import torch

from sire.errors import InvalidModel

DTYPES: dict[str, "torch.dtype | str"] = {
    "auto": "auto",
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.float32,
}


@dataclass(frozen=True)
class TransformersOptions:
    """How a model is to be loaded and run; every one of them can be left out.

    Attributes:
        task: what it is for; by default what its config says.
        dtype: of its weights: auto (as they are), fp32, fp16, bf16, or int8 for the linear layers
            on a CPU.
        force_cpu: run on the CPU, whatever devices there are.
        force_gpu: refuse to run on the CPU.
        rows: rows in one forward pass at most.
        max_input_tokens: tokens of an input at most; what is longer is cut off.
        pooling: how tokens become one embedding: mean, cls, max, …
        normalize: whether embeddings have length 1.
        top_k: how many of the likeliest labels to answer.
        chat: put a prompt into the model's chat template, as what the user said.
        generation: any field of transformers' ``GenerationConfig``.
    """

    task: str = ""
    dtype: str = "auto"
    force_cpu: bool = False
    force_gpu: bool = False
    rows: int = 32
    max_input_tokens: int | None = None
    pooling: str | None = None
    normalize: bool | None = None
    top_k: int = 1
    chat: bool = False
    generation: dict[str, Any] = field(default_factory=dict)

    @property
    def quantized(self) -> bool:
        """Whether linear layers are to have weights of eight bits."""
        return self.dtype == "int8"


def read_options(given: dict[str, Any], generation: Collection[str]) -> TransformersOptions:
    """Read a model's arguments.

    Args:
        given: by name.
        generation: the names that say how text is generated.

    Raises:
        InvalidModel: one is not known, or has a value that it cannot have.
    """
    kinds = {one.name: one for one in fields(TransformersOptions) if one.name != "generation"}
    own = {name: value for name, value in given.items() if name in kinds}
    rest = {name: value for name, value in given.items() if name not in kinds}
    if unknown := sorted(rest.keys() - set(generation)):
        raise InvalidModel(
            f"A Hugging Face model takes no argument {unknown[0]!r}.",
            hint=f"It takes {', '.join(kinds)}, and for text that is generated the fields of "
            "GenerationConfig, such as max_new_tokens.",
        )
    options = TransformersOptions(**own, generation=rest)
    _check(options)
    return options


def _check(options: TransformersOptions) -> None:
    _among("dtype", options.dtype, DTYPES)
    for name in ("rows", "max_input_tokens", "top_k"):
        value = getattr(options, name)
        if value is not None and (type(value) is not int or value < 1):
            raise InvalidModel(f"{name}={value!r} is no number above zero.")
    for name in ("force_cpu", "force_gpu", "normalize", "chat"):
        value = getattr(options, name)
        if value is not None and type(value) is not bool:
            raise InvalidModel(f"{name}={value!r} is neither true nor false.")
    if options.force_cpu and options.force_gpu:
        raise InvalidModel("It cannot be forced onto the CPU and onto a GPU.")


def _among(name: str, value: object, known: Any) -> None:
    if value not in known:
        raise InvalidModel(
            f"{value!r} is no {name} of a Hugging Face model.",
            hint=f"Known are: {', '.join(known)}.",
        )
