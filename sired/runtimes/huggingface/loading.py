"""A directory to a module with its weights."""

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from sire.errors import InvalidModel, UntrustedModel
from sired.runtimes.base import is_out_of_memory
from sired.runtimes.huggingface.arguments import TransformersOptions
from sired.runtimes.huggingface.task import TransformersModel
from sired.runtimes.pytorch.model import storage_bytes

_NAMED = 3
_DTYPES: dict[str, "torch.dtype | str"] = {
    "auto": "auto",
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.float32,
}
_UNREADABLE = (
    *(OSError, ValueError, TypeError, KeyError, AttributeError),
    *(ImportError, RuntimeError, SafetensorError),
)


def read_config(directory: str, *, trusted: bool) -> Any:
    """The model's config.

    Raises:
        UntrustedModel: it needs code that came with it, and is not trusted.
        InvalidModel: it cannot be read.
    """
    with _understood(directory):
        return transformers.AutoConfig.from_pretrained(
            directory, local_files_only=True, trust_remote_code=trusted
        )


def load_weights(
    kind: Any, directory: str, config: Any, options: TransformersOptions, *, trusted: bool
) -> torch.nn.Module:
    """The model with its weights, in main memory.

    Args:
        kind: one of transformers' ``AutoModelFor…`` classes.
        directory: where config and weights are.
        config: what ``read_config`` read.
        options: of which the dtype counts.
        trusted: whether code that came with it may run.

    Raises:
        UntrustedModel, InvalidModel: as ``read_config``; or weights are missing.
    """
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    with _understood(directory):
        model, found = kind.from_pretrained(
            directory,
            config=config,
            dtype=_DTYPES[options.dtype],
            local_files_only=True,
            trust_remote_code=trusted,
            output_loading_info=True,
        )
    missing = sorted(found["missing_keys"])
    if kind is transformers.AutoModel:
        # A pooler stands behind the states that embeddings are made of, and is often left out.
        missing = [name for name in missing if "pooler." not in name]
    if missing:
        names = f"{', '.join(missing[:_NAMED])}{' …' if len(missing) > _NAMED else ''}"
        raise InvalidModel(
            f"{directory} lacks weights of a {type(model).__name__}: {names}.",
            hint="Is it the task that it was trained for? --arg task=…",
        )
    return model.eval()  # type: ignore[no-any-return]


def load_beside(kind: Any, made: TransformersModel, **kwargs: Any) -> Any:
    """The tokenizer or processor that lies beside a model.

    Args:
        kind: one of transformers' ``Auto…`` classes.
        made: the model.
        **kwargs: passed on.

    Raises:
        UntrustedModel, InvalidModel: as ``read_config``.
    """
    with _understood(made.directory):
        return kind.from_pretrained(
            made.directory, local_files_only=True, trust_remote_code=made.trusted, **kwargs
        )


def quantize(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """The model with its linear layers in eight bits.

    Raises:
        InvalidModel: it has none, or is to run on a GPU.
    """
    if device.type != "cpu":
        raise InvalidModel(
            "Weights of eight bits run on a CPU only.", hint="--arg dtype=fp16, or --device cpu"
        )
    if not any(type(layer) is torch.nn.Linear for layer in model.modules()):
        raise InvalidModel("The model has no linear layers that could have eight bits.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated in favour of a package of its own
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear})  # type: ignore[no-any-return,no-untyped-call]


def memory_bytes(model: torch.nn.Module) -> int:
    """Bytes of all weights, those of eight bits included."""
    tensors = [*model.parameters(), *model.buffers()]
    eight_bits = sum(
        int(layer.in_features) * int(layer.out_features)
        for layer in model.modules()
        if isinstance(layer, torch.ao.nn.quantized.dynamic.Linear)
    )
    return eight_bits + storage_bytes(tensors)


@contextlib.contextmanager
def _understood(directory: str) -> Iterator[None]:
    """Turn what transformers raises into what sire says."""
    try:
        yield
    except _UNREADABLE as problem:
        if is_out_of_memory(problem):
            raise
        said = " ".join(str(problem).split())
        if "trust_remote_code" in said:
            raise UntrustedModel(
                f"{directory} needs code that came with it; nothing of it has run.",
                hint="If you trust where it comes from: sire register --replace --trust",
            ) from None
        raise InvalidModel(f"{directory} cannot be read: {said[:300]}") from None
