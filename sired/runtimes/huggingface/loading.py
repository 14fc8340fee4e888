"""A directory to a module with its weights."""

import contextlib
import re
import warnings
from collections.abc import Collection, Iterator
from pickle import UnpicklingError
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from sire.errors import InvalidModel, UntrustedModel
from sired.runtimes.huggingface.arguments import TransformersOptions
from sired.runtimes.huggingface.task import TransformersModel
from sired.runtimes.out_of_memory import is_out_of_memory
from sired.runtimes.pytorch.model import storage_bytes
from sired.runtimes.pytorch.unpickling import refuses, unreadable
from sired.runtimes.support.library_errors import causes_of, reason_of

_NAMED = 3
_SAVE_HINT = "Save its weights as safetensors: model.save_pretrained(directory)"
DTYPES: dict[str, "torch.dtype | str"] = {
    "auto": "auto",
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
    "int8": torch.float32,
}
_UNREADABLE = (
    *(OSError, ValueError, TypeError, KeyError, AttributeError),
    *(ImportError, RuntimeError, SafetensorError, UnpicklingError, EOFError, IndexError),
)


def read_config(directory: str, *, trusted: bool) -> Any:
    """The model's config.

    Raises:
        UntrustedModel: it needs code that comes with it, and is not trusted.
        InvalidModel: it cannot be read.
    """
    with errors_translated(directory):
        return transformers.AutoConfig.from_pretrained(
            directory, local_files_only=True, trust_remote_code=trusted
        )


def load_weights(
    kind: Any,
    directory: str,
    config: Any,
    options: TransformersOptions,
    *,
    trusted: bool,
    needs_pooler: bool,
    replaced: Collection[str] = (),
) -> torch.nn.Module:
    """The model with its weights, in main memory.

    Args:
        kind: a class of transformers: of a model, or an ``AutoModelFor…``.
        directory: where config and weights are.
        config: what ``read_config`` read.
        options: of which only the dtype is used.
        trusted: whether code that comes with it may run.
        needs_pooler: whether weights of a pooler may not be missing.
        replaced: names of weights that may be missing, because an adapter has them.

    Raises:
        UntrustedModel: as ``read_config``.
        InvalidModel: it cannot be read, or weights are missing.
    """
    transformers.logging.disable_progress_bar()
    transformers.logging.set_verbosity_error()
    with errors_translated(directory):
        model, found = kind.from_pretrained(
            directory,
            config=config,
            dtype=DTYPES[options.dtype],
            local_files_only=True,
            trust_remote_code=trusted,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported here, with their names and sizes
        )
    _check_sizes(directory, found["mismatched_keys"], replaced)
    missing = sorted(set(found["missing_keys"]) - set(replaced))
    if not needs_pooler:
        # Embeddings are computed before the pooler, which is often left out of files.
        missing = [name for name in missing if "pooler." not in name]
    if missing:
        names = f"{', '.join(missing[:_NAMED])}{' …' if len(missing) > _NAMED else ''}"
        raise InvalidModel(
            f"{directory} lacks weights of a {type(model).__name__}: {names}.",
            hint="Check that it was trained for this task, or specify another: --arg task=…",
        )
    return model.eval()  # type: ignore[no-any-return]


def _check_sizes(
    directory: str, differing: Collection[tuple[str, Any, Any]], replaced: Collection[str]
) -> None:
    """Raise InvalidModel if weights have other sizes than config.json states.

    Args:
        directory: where they are.
        differing: their names, sizes in the file and sizes in the model.
        replaced: names of weights that do not matter, because an adapter has them.
    """
    wrong = sorted(one for one in differing if one[0] not in replaced)
    if wrong:
        listed = (
            f"{name} has {list(given)} instead of {list(own)}"
            for name, given, own in wrong[:_NAMED]
        )
        raise InvalidModel(
            f"The weights in {directory} do not match its config.json: {', '.join(listed)}"
            f"{' …' if len(wrong) > _NAMED else ''}.",
            hint="Save both together, by save_pretrained of the model.",
        )


def load_beside(kind: Any, made: TransformersModel, **kwargs: Any) -> Any:
    """The tokenizer or processor in the model's directory.

    Args:
        kind: one of transformers' ``Auto…`` classes.
        made: the model.
        **kwargs: passed to ``from_pretrained``.

    Raises:
        UntrustedModel: it needs code that comes with the model, which is not trusted.
        InvalidModel: it cannot be read.
    """
    part = re.sub("(?<!^)(?=[A-Z])", " ", kind.__name__.removeprefix("Auto")).lower()
    with errors_translated(made.directory, f"The {part} in {made.directory}"):
        return kind.from_pretrained(
            made.directory, local_files_only=True, trust_remote_code=made.trusted, **kwargs
        )


def quantize(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """The model with its linear layers quantized to eight bits.

    Raises:
        InvalidModel: it has no linear layers, or was placed on a GPU.
    """
    if device.type != "cpu":
        raise InvalidModel(
            "Weights of eight bits (dtype=int8) run on a CPU only.",
            hint="--arg dtype=fp16, or --device cpu",
        )
    if not any(type(layer) is torch.nn.Linear for layer in model.modules()):
        raise InvalidModel("The model has no linear layers to quantize to eight bits.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated in favour of a separate package
        return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear})  # type: ignore[no-any-return,no-untyped-call]


def memory_bytes(model: torch.nn.Module) -> int:
    """Bytes of all weights, including quantized ones."""
    tensors = [*model.parameters(), *model.buffers()]
    eight_bits = sum(
        int(layer.in_features) * int(layer.out_features)
        for layer in model.modules()
        if isinstance(layer, torch.ao.nn.quantized.dynamic.Linear)
    )
    return eight_bits + storage_bytes(tensors)


@contextlib.contextmanager
def errors_translated(directory: str, part: str = "") -> Iterator[None]:
    """Convert errors of transformers to errors of sire.

    Args:
        directory: the model's.
        part: what is read of it, in words; by default the directory.
    """
    try:
        yield
    except Exception as problem:
        # tokenizers raises exceptions of no type of their own.
        known = isinstance(problem, _UNREADABLE) or type(problem) is Exception
        if not known or is_out_of_memory(problem):
            raise
        message = " ".join(str(problem).split())
        # transformers replaces the exception of the unpickler by one of its own.
        if refusal := next(filter(refuses, causes_of(problem)), None):
            raise unreadable(directory, refusal, _SAVE_HINT) from None
        if "trust_remote_code" in message:
            raise UntrustedModel(
                f"{directory} needs code that comes with it; none of its code has run.",
                hint="If you trust its source: sire register --replace --trust",
            ) from None
        raise InvalidModel(
            f"{part or directory} cannot be read: {reason_of(problem, whole=True)[:300]}"
        ) from None
