"""What the loaders of PyTorch files are given, and what they make of a file."""

import dataclasses
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch

from sired.errors import InvalidModel, UntrustedModel
from sired.spec import Signature

_ANYTHING = inspect.Signature(
    [
        inspect.Parameter("inputs", inspect.Parameter.VAR_POSITIONAL),
        inspect.Parameter("named", inspect.Parameter.VAR_KEYWORD),
    ]
)


@dataclasses.dataclass(frozen=True, slots=True)
class Job:
    """A file to load, and how; the fields are those of ``InferenceRuntime.load``."""

    path: str
    device: torch.device
    model_class: str | None
    python_path: tuple[str, ...]
    trusted: bool
    arguments: dict[str, Any]

    def refuse_arguments(self) -> None:
        """Raise InvalidModel if there are arguments: the file needs no class to take them."""
        if self.arguments:
            raise InvalidModel(
                f"{self.path} needs no class, so there is nothing to give "
                f"{', '.join(self.arguments)} to.",
                hint="Register it without --arg.",
            )

    def need_trust(self, because: str) -> None:
        """Raise UntrustedModel unless the model is trusted; ``because`` ends "FILE …"."""
        if not self.trusted:
            raise UntrustedModel(
                f"{self.path} {because}; nothing of it has run.",
                hint="If you trust where it comes from: sire register --replace --trust",
            )


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory: what to call and with which parameters, and what is known of it.

    ``dtype`` is what all its floating point weights are of, None where they differ.
    """

    call: Callable[..., Any]
    device: torch.device
    weight_bytes: int
    dtype: torch.dtype | None = None
    parameters: inspect.Signature = _ANYTHING
    signature: Signature = dataclasses.field(default_factory=Signature)


def loaded(
    module: torch.nn.Module,
    device: torch.device,
    parameters: inspect.Signature,
    signature: Signature | None = None,
) -> Loaded:
    """Describe a module that is on its device, ready to be called."""
    tensors = [*module.parameters(), *module.buffers()]
    dtypes = {parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()}
    dtype = dtypes.pop() if len(dtypes) == 1 else None
    return Loaded(
        module, device, memory_of(tensors), dtype, parameters, signature or Signature()
    )


def memory_of(tensors: Iterable[torch.Tensor]) -> int:
    """Bytes of the tensors' storages; those of tied weights count once."""
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


def first_line(problem: BaseException) -> str:
    """What a framework's error says, without the pages it says besides."""
    return str(problem).strip().partition("\n")[0]
