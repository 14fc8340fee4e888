"""Loads weights, which need a class, and whole modules, which need trust."""

import logging
from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from sire.errors import InvalidModel
from sired.runtimes.arguments import read_arguments
from sired.runtimes.pytorch.arguments import TorchOptions, split_arguments
from sired.runtimes.pytorch.checkpoints import Found, choose_module, find_weights
from sired.runtimes.pytorch.compiling import compiled
from sired.runtimes.pytorch.initialisation import DeferredInitialisation
from sired.runtimes.pytorch.model import (
    TorchLoad,
    TorchModel,
    common_precision,
    storage_bytes,
    wanted_precision,
)
from sired.runtimes.pytorch.streaming import is_streamed, stream_safetensors
from sired.runtimes.pytorch.unpickling import Unpickled, unpickle
from sired.runtimes.pytorch.wanted_weights import Wanted
from sired.runtimes.support.classes import check_constructor, construct, find_class
from sired.runtimes.support.inputs import parameters_of

log = logging.getLogger("sired.worker")

_NAMED = 3

Fill = Callable[[torch.nn.Module, dict[str, Any], torch.dtype | None], tuple[list[str], list[str]]]
"""Loads weights into a module; returns the missing and the additional names."""


def load_safetensors(job: TorchLoad) -> TorchModel:
    """Load weights into the job's class.

    Raises:
        InvalidModel: the file cannot be read, the class is missing, or they do not match.
    """
    return _with_class(job, lambda dtype: Unpickled(_read_safetensors(job, dtype)))


def _read_safetensors(job: TorchLoad, dtype: torch.dtype | None) -> dict[str, torch.Tensor]:
    """The weights in the job's file; those streamed to a GPU are in the given dtype, if any."""
    try:
        if is_streamed(job.path, job.device):
            return stream_safetensors(job.path, job.device, job.progress, dtype)
        return load_file(job.path, device=str(job.device))
    except SafetensorError as problem:
        raise InvalidModel(f"{job.path} cannot be read as safetensors: {problem}") from None


def load_pickled(job: TorchLoad) -> TorchModel:
    """Load what ``torch.save`` wrote: weights, or a whole module if it is trusted.

    Raises:
        UntrustedModel: it contains more than weights, and the job is not trusted.
        InvalidModel: as ``load_safetensors``.
    """
    unpickled = unpickle(job)
    module = choose_module(unpickled.content, job.path, job.arguments.get("key"))
    if module is not None:
        options = read_arguments(TorchOptions, job.arguments, f"{job.path}, a whole module,")
        return _whole(module, job.device, options, wanted_precision(options))
    return _with_class(job, lambda _: unpickled)


def _with_class(job: TorchLoad, read: Callable[[torch.dtype | None], Unpickled]) -> TorchModel:
    """An object of the job's class, with the weights that ``read`` returns."""
    initialisation = DeferredInitialisation()
    with initialisation:
        module, options = construct_module(job)
        wanted = Wanted.of(module)
    precision = wanted_precision(options)
    unpickled = read(precision)
    found = find_weights(unpickled.content, wanted, job.path, options.key, options.strip)
    # Weights in the dtype that the module is converted to need not take on that of its class.
    kept = precision or wanted.kept_precision(found.weights)
    ignored = fill(
        module,
        found,
        wanted,
        job.path,
        lambda: initialisation.load(module, found.weights, kept),
        strict=options.strict,
    )
    for note in (*notes(unpickled, found, wanted, options), *ignored):
        log.info("%s", note)
    initialisation.finish()
    return _whole(module, job.device, options, kept)


def construct_module(job: TorchLoad) -> tuple[torch.nn.Module, TorchOptions]:
    """An object of the job's class, and the options among the model's arguments.

    Raises:
        InvalidModel: the class is missing, does not take its arguments, or is not a module.
    """
    if job.model_class is None:
        raise InvalidModel(
            f"{job.path} contains weights only, and no class is given for them.",
            hint="Specify it: sire register --replace --class file.py:Class",
        )
    kind = find_class(job.model_class, job.python_path)
    options, arguments = split_arguments(job.arguments, kind)
    module = construct(kind, arguments)
    if not isinstance(module, torch.nn.Module):
        raise InvalidModel(f"{kind.__name__} is not a torch.nn.Module.")
    return module, options


def bytes_of_class(job: TorchLoad) -> int:
    """Bytes of the weights that an object of the job's class has; none are allocated.

    Raises:
        InvalidModel: the class is missing, or is not a module.
        Exception: it cannot be constructed without values.
    """
    with torch.device("meta"):
        module, options = construct_module(job)
    if (precision := wanted_precision(options)) is not None:
        module = module.to(precision)
    # ``parameters`` lists tied ones once. On this device their storages cannot be distinguished.
    return sum(tensor.nbytes for tensor in chain(module.parameters(), module.buffers()))


def check_class_arguments(job: TorchLoad) -> None:
    """Ensure that the constructor of the job's class takes the arguments that are no options.

    Raises:
        InvalidModel: it does not, or an option has a value of the wrong type.
    """
    assert job.model_class is not None
    kind = find_class(job.model_class, job.python_path)
    _, arguments = split_arguments(job.arguments, kind)
    check_constructor(kind, arguments)


def notes(unpickled: Unpickled, found: Found, wanted: Wanted, options: TorchOptions) -> list[str]:
    """Sentences about what is chosen from a file, what is ignored, and how it is converted."""
    every = list(found.notes)
    if unpickled.left_out:
        every.append(f"Objects in it are ignored: {', '.join(unpickled.left_out)}.")
    if options.dtype is None and (precision := wanted.precision_note(found.weights)):
        every.append(precision)
    return every


def fill(
    module: torch.nn.Module,
    found: Found,
    wanted: Wanted,
    path: str,
    load: Callable[[], tuple[list[str], list[str]]],
    *,
    strict: bool,
) -> list[str]:
    """Load weights into a module.

    Args:
        module: to load them into.
        found: the weights.
        wanted: those of the module.
        path: of their file, for errors.
        load: loads them; returns the missing and the additional names.
        strict: whether additional weights are an error.

    Returns:
        A sentence about additional weights that are ignored, if there are any.

    Raises:
        InvalidModel: their names or shapes do not match.
    """
    hint = "Check that --class and --arg are the ones it was trained with."
    if found.keys:
        hint = f"The file has {found.keys}. {hint} Others can be chosen: --arg key=, --arg strip="
    try:
        missing, unexpected = load()
    except RuntimeError as problem:
        reason = _last_line(problem)
        raise InvalidModel(f"{path} does not match {wanted.owner}: {reason}", hint=hint) from None
    missing = [n for n in missing if not wanted.tied.get(n, set()) & found.weights.keys()]
    if missing or (unexpected and strict):
        parts = [
            f"{kind} {_some(keys)}"
            for kind, keys in (("lacks", missing), ("has additional", unexpected))
            if keys
        ]
        raise InvalidModel(
            f"{path} does not match {type(module).__name__}: the file {' and '.join(parts)}.",
            hint=hint if missing else f"{hint.rstrip('.')}. To ignore these: --arg strict=false",
        )
    return [f"Weights that the class lacks are ignored: {_some(unexpected)}."] if unexpected else []


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")


def _whole(
    module: torch.nn.Module,
    device: torch.device,
    options: TorchOptions,
    precision: torch.dtype | None,
) -> TorchModel:
    """A module, on its device and in the given precision; None to change no dtype."""
    if precision is not None:
        # Parameters and buffers that are not in the file are converted like the weights.
        module = module.to(precision)
    module = module.eval().to(device)
    if options.channels_last:
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    parameters = parameters_of(module.forward)
    return TorchModel(
        compiled(module) if options.compile else module,
        device,
        parameters.arrange,
        storage_bytes([*module.parameters(), *module.buffers()]),
        precision or common_precision(module.parameters()),
        options=options,
        with_rate=parameters.with_rate,
    )


def _last_line(problem: BaseException) -> str:
    return str(problem).strip().rpartition("\n")[2].strip()
