"""The weights that a class has, and how those of a file match them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

# The last part of the name under which a module saves what is not a tensor.
EXTRA_STATE = "_extra_state"
_HALVES = {torch.float16, torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The weights that an object of the class has.

    Attributes:
        owner: the name of the class.
        shapes: by name, of those that are in its state_dict; None where it is not a tensor.
        dtypes: of the tensors.
        tied: for each name of a tied parameter, all of its names.
    """

    owner: str
    shapes: Mapping[str, tuple[int, ...] | None]
    dtypes: Mapping[str, torch.dtype]
    tied: Mapping[str, set[str]]

    @staticmethod
    def of(module: torch.nn.Module) -> "Wanted":
        """The weights of a module."""
        by_tensor: dict[int, set[str]] = {}
        for name, parameter in module.named_parameters(remove_duplicate=False):
            by_tensor.setdefault(id(parameter), set()).add(name)
        state = module.state_dict()
        tensors = {n: value for n, value in state.items() if isinstance(value, torch.Tensor)}
        return Wanted(
            type(module).__name__,
            {n: tuple(tensors[n].shape) if n in tensors else None for n in state},
            {n: value.dtype for n, value in tensors.items()},
            {name: names for names in by_tensor.values() for name in names if len(names) > 1},
        )

    def kept_precision(self, weights: Mapping[str, Any]) -> torch.dtype | None:
        """The half precision that all weights are saved in, if the class states no precision.

        None if each weight is to be converted to the dtype that it has in the class.
        """
        own = {dtype for dtype in self.dtypes.values() if dtype.is_floating_point}
        given = {value.dtype for value in _floats(weights)}
        kept = own == {torch.float32} and len(given) == 1 and given <= _HALVES
        return given.pop() if kept else None

    def precision_note(self, weights: Mapping[str, Any]) -> str:
        """A sentence about the dtype of the weights, if it is not that of the class."""
        if (kept := self.kept_precision(weights)) is not None:
            return (
                f"It computes in {_name(kept)}, as its weights are saved; --arg dtype=fp32 "
                "converts them."
            )
        pairs = {
            (value.dtype, self.dtypes[name])
            for name, value in weights.items()
            if isinstance(value, torch.Tensor) and name in self.dtypes
        }
        converted = sorted(f"{_name(a)} to {_name(b)}" for a, b in pairs if a != b)
        return f"Weights are converted from {', from '.join(converted)}." if converted else ""

    def misfits(self, names: Mapping[str, str], values: Mapping[str, Any]) -> int:
        """How many weights are missing, additional, or of another shape.

        Args:
            names: the name in the checkpoint of each weight, by its name in the class.
            values: the weights by their name in the checkpoint.
        """
        missing = sum(not self._is_there(name, names) for name in self.shapes)
        return missing + sum(not self._fits(name, values[old]) for name, old in names.items())

    def _is_there(self, name: str, names: Mapping[str, str]) -> bool:
        # Norms saved without a count of batches are given one when they are loaded.
        return (
            name in names
            or name.endswith(("num_batches_tracked", EXTRA_STATE))
            or any(other in names for other in self.tied.get(name, ()))
        )

    def _fits(self, name: str, value: Any) -> bool:
        if name not in self.shapes:
            return False
        shape = self.shapes[name]
        if shape is None or not isinstance(value, torch.Tensor):
            return name.endswith(EXTRA_STATE)
        # As in PyTorch 0.3, which had no tensors without axes.
        return tuple(value.shape) == shape or (shape == () and tuple(value.shape) == (1,))


def _floats(weights: Mapping[str, Any]) -> Iterator[torch.Tensor]:
    for value in weights.values():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            yield value


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
