"""Files of weights, and the class they belong to."""

import contextlib
import inspect
import pickle
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.utils.weak import WeakIdKeyDictionary

from sired.errors import InvalidModel, LoadFailed
from sired.runtimes.base import is_out_of_memory
from sired.runtimes.classes import construct, find_class, look_in
from sired.runtimes.torch_model import Job, Loaded, first_line, loaded

# Training scripts wrap the weights in one of these.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_NAMED = 3


def load_safetensors(job: Job) -> Loaded:
    """Load safetensors into the model's class; on a CPU the file stays mapped."""
    try:
        weights = load_file(job.path, device=str(job.device))
    except SafetensorError as problem:
        raise InvalidModel(f"{job.path} cannot be read as safetensors: {problem}") from None
    return _with_class(job, weights)


def load_pickled(job: Job) -> Loaded:
    """Load what torch.save wrote: weights for the model's class, or a whole module."""
    content = _unpickled(job)
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict | torch.nn.Module):
            content = content[wrapper]
    if isinstance(content, torch.nn.Module):
        job.refuse_arguments()
        return _ready(content, job.device)
    if not isinstance(content, dict) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise InvalidModel(
            f"{job.path} holds a {type(content).__name__} that is no state_dict.",
            hint="Save model.state_dict().",
        )
    return _with_class(job, dict(content))


def _unpickled(job: Job) -> Any:
    """What torch.save wrote; without trust only tensors and plain containers are built."""
    look_in(job.python_path)
    # A file in the old format cannot be mapped.
    mapped = zipfile.is_zipfile(job.path)
    try:
        return torch.load(job.path, "cpu", weights_only=not job.trusted, mmap=mapped)
    except pickle.UnpicklingError as problem:
        wanted = re.search(r"GLOBAL (\S+)", str(problem))
        job.need_trust(
            f"wants to run {wanted[1]} when it is loaded" if wanted else "holds more than weights"
        )
        raise InvalidModel(f"{job.path} cannot be read: {first_line(problem)}") from None
    except (ImportError, AttributeError) as problem:
        raise LoadFailed(
            f"{job.path} holds an object whose class is not to be found: {problem}.",
            hint="Save model.state_dict() instead, and name the class with --class file.py:Class.",
        ) from problem
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as problem:
        if is_out_of_memory(problem):
            raise
        raise InvalidModel(f"{job.path} cannot be read: {first_line(problem)}") from None


def _with_class(job: Job, weights: dict[str, torch.Tensor]) -> Loaded:
    if job.model_class is None:
        raise InvalidModel(
            f"{job.path} holds weights only; the class they belong to is missing.",
            hint="Name it: sire register --replace --class file.py:Class",
        )
    kind = find_class(job.model_class, job.python_path)
    if not issubclass(kind, torch.nn.Module):
        raise InvalidModel(f"{kind.__name__} is no torch.nn.Module.")
    module = _blank(kind, job.arguments)
    _fill(module, _with_ties(module, weights), job.path)
    return _ready(module, job.device)


def _blank(kind: type[torch.nn.Module], arguments: dict[str, Any]) -> torch.nn.Module:
    """Make the module without memory for its parameters: the file replaces every one of them.

    A constructor that looks at the values of its parameters gets them after all.
    """
    with contextlib.suppress(NotImplementedError, RuntimeError):
        with _parameters_without_memory():
            module: torch.nn.Module = construct(kind, arguments)
        if not any(tensor.is_meta for tensor in _kept_besides_parameters(module)):
            return module
    module = construct(kind, arguments)
    return module


@contextlib.contextmanager
def _parameters_without_memory() -> Iterator[None]:
    """Have parameters lie on the meta device from the moment a module gets them.

    Initialising them costs seconds for a large model, and their memory a second time. Buffers
    and other tensors are made as ever: they may not be in the file.
    """
    known = WeakIdKeyDictionary()  # a parameter given to two modules stays one parameter

    def instead(_module: Any, _name: str, given: torch.nn.Parameter) -> torch.nn.Parameter:
        if given.is_meta or type(given) is not torch.nn.Parameter:
            return given
        if given not in known:
            known[given] = torch.nn.Parameter(given.detach().to("meta"), given.requires_grad)
        parameter: torch.nn.Parameter = known[given]
        return parameter

    handle = register_module_parameter_registration_hook(instead)
    try:
        yield
    finally:
        handle.remove()


def _kept_besides_parameters(module: torch.nn.Module) -> Iterator[torch.Tensor]:
    yield from module.buffers()
    for part in module.modules():
        yield from (value for value in vars(part).values() if isinstance(value, torch.Tensor))


def _with_ties(
    module: torch.nn.Module, weights: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Give tied parameters one and the same weight; safetensors keeps it under one name only."""
    names_of = defaultdict(list)
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names_of[parameter].append(name)
    for names in names_of.values():
        present = [name for name in names if name in weights]
        if len(names) > 1 and present:
            shared = torch.nn.Parameter(weights[present[0]], requires_grad=False)
            weights |= dict.fromkeys(names, shared)
    return weights


def _fill(module: torch.nn.Module, weights: dict[str, torch.Tensor], path: str) -> None:
    try:
        # Assigning keeps the mapped tensors; copying would hold every weight twice.
        missing, unexpected = module.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as problem:
        said = str(problem).strip().rpartition("\n")[2].strip()
        raise InvalidModel(f"{path} does not fit {type(module).__name__}: {said}") from None
    if missing or unexpected:
        parts = [
            f"{kind} {', '.join(keys[:_NAMED])}{' …' if len(keys) > _NAMED else ''}"
            for kind, keys in (("lacks", missing), ("has besides", unexpected))
            if keys
        ]
        raise InvalidModel(
            f"{path} does not fit {type(module).__name__}: the file {' and '.join(parts)}.",
            hint="Are --class and --arg the ones it was trained with?",
        )


def _ready(module: torch.nn.Module, device: torch.device) -> Loaded:
    module = module.eval().to(device)
    return loaded(module, device, inspect.signature(module.forward))
