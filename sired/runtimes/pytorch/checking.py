"""Checks at registration that a file of weights matches its class, without reading weights."""

import importlib.util
import sys
from dataclasses import replace
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import _TYPES as _DTYPES  # the table has no public name

from sire.errors import InvalidModel, SireError, UntrustedModel
from sired.runtimes.pytorch.arguments import TorchOptions
from sired.runtimes.pytorch.checkpoints import find_weights
from sired.runtimes.pytorch.initialisation import DeferredInitialisation
from sired.runtimes.pytorch.model import TorchLoad
from sired.runtimes.pytorch.unpickling import Unpickled, cannot_import, unpickle
from sired.runtimes.pytorch.wanted_weights import Wanted
from sired.runtimes.pytorch.weights import construct_module, fill, notes
from sired.runtimes.support.classes import add_to_path, find_class

_NO_VALUES = "meta"
# How PyTorch's errors of weights that do not match begin.
_MISMATCH = "Error(s) in loading state_dict"


def check_weights(job: TorchLoad, format_name: str) -> list[str]:
    """Check that a file can be loaded: its weights match its class, or its classes exist.

    Returns:
        Sentences about what is chosen from the file and what is ignored.

    Raises:
        InvalidModel: it cannot be loaded.
        UntrustedModel: it contains more than weights, and the job is not trusted.
        Exception: the class cannot be constructed.
    """
    try:
        unpickled = _described(replace(job, trusted=False), format_name)
    except UntrustedModel:
        if not job.trusted:
            raise
        _check_imports(job)
        return []
    module, options = _construct(job)
    wanted = Wanted.of(module)
    found = find_weights(unpickled.content, wanted, job.path, options.key, options.strip)
    ignored = fill(
        module,
        found,
        wanted,
        job.path,
        lambda: _assign(module, found.weights),
        strict=options.strict,
    )
    return [*notes(unpickled, found, wanted, options), *ignored]


def _described(job: TorchLoad, format_name: str) -> Unpickled:
    """The content of a file with tensors that have dtypes and shapes, but no values."""
    if format_name != "safetensors":
        return unpickle(job, _NO_VALUES)
    try:
        with safe_open(job.path, framework="pt") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
            tensors = {
                name: torch.empty(
                    part.get_shape(), dtype=_DTYPES[part.get_dtype()], device=_NO_VALUES
                )
                for name, part in parts.items()
            }
    except (SafetensorError, KeyError) as problem:
        raise InvalidModel(f"{job.path} cannot be read as safetensors: {problem}") from None
    return Unpickled(tensors)


def _construct(job: TorchLoad) -> tuple[torch.nn.Module, TorchOptions]:
    """An object of the class, without values if its constructor allows that."""
    try:
        with torch.device(_NO_VALUES):
            return construct_module(job)
    except SireError:
        raise
    except Exception:
        with DeferredInitialisation():
            return construct_module(job)


def _assign(module: torch.nn.Module, weights: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Load weights without values, which runs the class's own code that changes their names."""
    try:
        missing, unexpected = module.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as problem:
        if str(problem).startswith(_MISMATCH) and "size mismatch" in str(problem):
            raise
        return [], []  # its own code needs values
    return missing, unexpected


def _check_imports(job: TorchLoad) -> None:
    """Check that the classes of a whole module can be imported; none of their code runs."""
    add_to_path(job.python_path)
    beside = None
    if job.model_class is not None:
        beside = sys.modules[find_class(job.model_class, job.python_path).__module__]
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(job.path)
    except (RuntimeError, ValueError):  # a file in the format before zip files
        return
    for name in sorted(names):
        module, _, attribute = name.rpartition(".")
        if module and not hasattr(beside, attribute) and not _exists(module):
            raise cannot_import(job.path, name, f"there is no module {module}")


def _exists(module: str) -> bool:
    """Whether a module can be imported; those of scripts cannot."""
    if module == "__main__":
        return False
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, AttributeError, ValueError):
        return False
