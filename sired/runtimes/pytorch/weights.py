"""Loads weights, which need a class, and whole modules, which need trust."""

import pickle
import re
import zipfile
from itertools import chain
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode

from sire.errors import InvalidModel, UntrustedModel
from sired.runtimes.arguments import read_arguments
from sired.runtimes.base import is_out_of_memory
from sired.runtimes.pytorch.arguments import TorchOptions, split_arguments
from sired.runtimes.pytorch.compiling import compiled
from sired.runtimes.pytorch.model import (
    TorchLoad,
    TorchModel,
    common_precision,
    storage_bytes,
    wanted_precision,
)
from sired.runtimes.pytorch.streaming import is_streamed, stream_safetensors
from sired.runtimes.support.classes import check_constructor, construct, find_class
from sired.runtimes.support.inputs import parameters_of

# Training scripts wrap the weights in one of these.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_NAMED = 3


def load_safetensors(job: TorchLoad) -> TorchModel:
    """Load weights into the job's class.

    Raises:
        InvalidModel: the file cannot be read, the class is missing, or they do not match.
    """
    try:
        if is_streamed(job.path, job.device):
            weights = stream_safetensors(job.path, job.device, job.progress)
        else:
            weights = load_file(job.path, device=str(job.device))
    except SafetensorError as problem:
        raise InvalidModel(f"{job.path} cannot be read as safetensors: {problem}") from None
    return _with_class(job, weights)


def load_pickled(job: TorchLoad) -> TorchModel:
    """Load what ``torch.save`` wrote: weights, or a whole module if it is trusted.

    Raises:
        UntrustedModel: it contains more than weights, and the job is not trusted.
        InvalidModel: as ``load_safetensors``.
    """
    content = _unpickled(job)
    if isinstance(content, torch.nn.Module):
        options = read_arguments(TorchOptions, job.arguments, f"{job.path}, a whole module,")
        return _whole(content, job.device, options)
    return _with_class(job, _weights_in(content, job.path))


def _unpickled(job: TorchLoad) -> Any:
    """The content of the file; without trust only tensors and plain containers are built."""
    # A file in the old format cannot be mapped.
    mapped = zipfile.is_zipfile(job.path)
    try:
        return torch.load(job.path, "cpu", weights_only=not job.trusted, mmap=mapped)
    except pickle.UnpicklingError as problem:
        if "weights_only" in str(problem).lower() or "unsupported" in str(problem).lower():
            raise _untrusted(job, str(problem)) from None
        raise InvalidModel(f"{job.path} cannot be read: {_first_line(problem)}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as problem:
        if is_out_of_memory(problem):
            raise
        raise InvalidModel(f"{job.path} cannot be read: {_first_line(problem)}") from None


def _untrusted(job: TorchLoad, message: str) -> UntrustedModel:
    wanted = re.search(r"GLOBAL (\S+)", message)
    what = f"would run {wanted[1]}" if wanted else "contains more than weights"
    return UntrustedModel(
        f"{job.path} {what} when loaded; none of its code has run.",
        hint="If you trust its source: sire register --replace --trust. Better: save the "
        "state_dict as safetensors.",
    )


def _weights_in(content: Any, path: str) -> dict[str, torch.Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise InvalidModel(
            f"{path} contains a {type(content).__name__}, which is not a state_dict.",
            hint="Save model.state_dict().",
        )
    return content


def bytes_of_class(job: TorchLoad) -> int:
    """Bytes of the weights that an object of the job's class has; none are allocated.

    Raises:
        InvalidModel: the class is missing, or is not a module.
        Exception: it cannot be constructed without values.
    """
    with torch.device("meta"):
        module, options = _construct(job)
    if (precision := wanted_precision(options)) is not None:
        module = module.to(precision)
    # ``parameters`` lists tied ones once. On this device their storages cannot be distinguished.
    return sum(tensor.nbytes for tensor in chain(module.parameters(), module.buffers()))


def _with_class(job: TorchLoad, weights: dict[str, torch.Tensor]) -> TorchModel:
    with _NoInitialisation():
        module, options = _construct(job)
    _fill(module, weights, job.path)
    return _whole(module, job.device, options)


def _construct(job: TorchLoad) -> tuple[torch.nn.Module, TorchOptions]:
    """An object of the job's class, and the options among the model's arguments."""
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


def check_class_arguments(job: TorchLoad) -> None:
    """Ensure that the constructor of the job's class takes the arguments that are no options.

    Raises:
        InvalidModel: it does not, or an option has a value of the wrong type.
    """
    assert job.model_class is not None
    kind = find_class(job.model_class, job.python_path)
    _, arguments = split_arguments(job.arguments, kind)
    check_constructor(kind, arguments)


class _NoInitialisation(TorchFunctionMode):
    """Skips the initialisation of large parameters, all of which the file replaces.

    Random numbers for a large model take seconds, and memory for its weights a second time.
    Buffers and other tensors are initialised, as they may not be in the file. So are small
    parameters, which costs nothing, because a constructor may read them.
    """

    _FILL = frozenset({"uniform_", "normal_", "fill_", "zero_", "copy_", "erfinv_", "clamp_"})
    _LARGE = 1 << 16

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Call one torch function, or skip it."""
        given = kwargs or {}
        initialises = getattr(func, "__module__", "") == torch.nn.init.__name__
        if initialises or getattr(func, "__name__", "") in self._FILL:
            # A tensor's method has it as the first argument, torch.nn.init by name.
            target = args[0] if args else given.get("tensor")
            if isinstance(target, torch.nn.Parameter) and target.numel() > self._LARGE:
                return target
        return func(*args, **given)


def _fill(module: torch.nn.Module, weights: dict[str, torch.Tensor], path: str) -> None:
    tied = _tied(module)
    try:
        # Assigning keeps the mapped tensors; copying would allocate every weight twice.
        missing, unexpected = module.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as problem:
        raise InvalidModel(
            f"{path} does not match {type(module).__name__}: {_last_line(problem)}"
        ) from None
    missing = [name for name in missing if not _tie(module, name, tied, weights)]
    if missing or unexpected:
        parts = [
            f"{kind} {', '.join(keys[:_NAMED])}{' …' if len(keys) > _NAMED else ''}"
            for kind, keys in (("lacks", missing), ("has additional", unexpected))
            if keys
        ]
        raise InvalidModel(
            f"{path} does not match {type(module).__name__}: the file {' and '.join(parts)}.",
            hint="Check that --class and --arg are the ones it was trained with.",
        )


def _tied(module: torch.nn.Module) -> dict[str, set[str]]:
    """For each name of a tied parameter, all of its names."""
    by_tensor: dict[int, set[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        by_tensor.setdefault(id(parameter), set()).add(name)
    return {name: names for names in by_tensor.values() for name in names if len(names) > 1}


def _tie(
    module: torch.nn.Module, name: str, tied: dict[str, set[str]], weights: dict[str, torch.Tensor]
) -> bool:
    """Set a parameter missing in the file from a tied one that is in it; False if there is none."""
    source = next((other for other in tied.get(name, ()) if other in weights), None)
    if source is None:
        return False
    parent, _, leaf = name.rpartition(".")
    setattr(module.get_submodule(parent), leaf, module.get_parameter(source))
    return True


def _whole(module: torch.nn.Module, device: torch.device, options: TorchOptions) -> TorchModel:
    wanted = wanted_precision(options)
    precision = wanted or common_precision(module.parameters())
    # Parameters and buffers that are not in the file are converted like the weights.
    if wanted is not None or precision in {torch.float16, torch.bfloat16}:
        module = module.to(precision)
    module = module.eval().to(device)
    if options.channels_last:
        module = module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = storage_bytes([*module.parameters(), *module.buffers()])
    arrange = parameters_of(module.forward).arrange
    call = compiled(module) if options.compile else module
    return TorchModel(call, device, arrange, size, precision, options=options)


def _first_line(problem: BaseException) -> str:
    return str(problem).strip().partition("\n")[0]


def _last_line(problem: BaseException) -> str:
    return str(problem).strip().rpartition("\n")[2].strip()
