"""Calls a model with inputs whose dtypes and names are not declared.

JSON does not tell 1 from 1.0, so ``[[1, 2, 3]]`` arrives as int64. Fractions arrive as float64 if
the weights have no common precision. A model that rejects numbers because of their dtype gets them
in its precision, which it then gets at once in later requests. Models that take whole numbers, such
as indices of an embedding, do not reject them.
"""

import logging
import re
from collections.abc import Callable, Iterator
from typing import Any

import torch

from sire.errors import InferenceError, InvalidInput
from sired.runtimes.out_of_memory import is_out_of_memory
from sired.runtimes.support.inputs import Arguments

log = logging.getLogger("sired.worker")

_ABOUT_DTYPES = re.compile(
    r"dtype|scalar type|floating[- ]point|Input type|"
    r"not implemented for '(Long|Int|Short|Char|Byte)'"
)
_INTEGERS = {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8}
_CONVERTED = {torch.float64, *_INTEGERS}
# Half precision rounds fractions as well, which its users expect.
_EXACT = {torch.float32, torch.float64}

Call = Callable[..., Any]
Arrange = Callable[[Any], Arguments]


class UndeclaredInputs:
    """Passes inputs on, and remembers which of them a model takes as floats of its precision."""

    def __init__(self) -> None:
        self._as_floats: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def call(self, call: Call, arrange: Arrange, inputs: Any, precision: torch.dtype | None) -> Any:
        """Call a model.

        Args:
            call: the model.
            arrange: maps inputs to its arguments.
            inputs: tensors by name, in order, or one.
            precision: the dtype that floats have; None for PyTorch's default.

        Raises:
            InvalidInput: a whole number is not exact in that dtype, or the names do not match.
            InferenceError: the model rejects the dtypes of its inputs.
            Exception: any other error of the model.
        """
        dtype = precision or torch.get_default_dtype()
        places = tuple(_convertible(inputs))
        known = self._as_floats.get(places, ())
        try:
            return _run(call, arrange, _as_floats(inputs, known, dtype))
        except Exception as problem:
            if not _is_about_dtypes(problem):
                raise
            for choice in _choices(places):
                if choice == known:
                    continue
                try:
                    answer = _run(call, arrange, _as_floats(inputs, choice, dtype))
                except InvalidInput:
                    raise
                except Exception as other:
                    log.debug("not with floats at %s either: %s", choice, other)
                    continue
                self._as_floats[places] = choice
                return answer
            log.exception("the model rejects its input")
            reason = " ".join(f"{type(problem).__name__}: {problem}".split())
            raise InferenceError(
                reason,
                hint=f"Given was {_described(inputs)}. Declare what the model takes: "
                "--input 'float32[-1,3]'",
            ) from problem


def _is_about_dtypes(problem: Exception) -> bool:
    if not isinstance(problem, RuntimeError | TypeError | IndexError) or is_out_of_memory(problem):
        return False
    return _ABOUT_DTYPES.search(str(problem)) is not None


def _run(call: Call, arrange: Arrange, inputs: Any) -> Any:
    args, kwargs = arrange(inputs)
    try:
        return call(*args, **kwargs)
    except (TypeError, AttributeError) as problem:
        if isinstance(inputs, dict) and args and args[0] is inputs:
            names = ", ".join(map(str, inputs))
            raise InvalidInput(
                f"None of the names {names} is a parameter of the model, which was given them as "
                f"one object and failed: {type(problem).__name__}: {problem}.",
                hint="Use the names of its parameters, or give the input without a name.",
            ) from problem
        raise


def _convertible(inputs: Any) -> Iterator[Any]:
    """Where inputs may be converted: their names, their places, or "" for the only input."""
    for place, value in _parts(inputs):
        if isinstance(value, torch.Tensor) and value.dtype in _CONVERTED:
            yield place


def _parts(inputs: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(inputs, dict):
        yield from inputs.items()
    elif isinstance(inputs, tuple):
        yield from enumerate(inputs)
    else:
        yield "", inputs


def _choices(places: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    """Which of them to pass as floats: all, else one, else all but one."""
    if places:
        yield places
    if len(places) > 1:
        yield from ((place,) for place in places)
    if len(places) > 2:
        yield from (tuple(p for p in places if p != left) for left in places)


def _as_floats(inputs: Any, places: tuple[Any, ...], dtype: torch.dtype) -> Any:
    if not places:
        return inputs
    if isinstance(inputs, dict):
        return {
            name: _as_float(value, dtype) if name in places else value
            for name, value in inputs.items()
        }
    if isinstance(inputs, tuple):
        return tuple(
            _as_float(value, dtype) if place in places else value
            for place, value in enumerate(inputs)
        )
    return _as_float(inputs, dtype)


def _as_float(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Whole numbers as floats.

    Raises:
        InvalidInput: one of them would be rounded.
    """
    floats = tensor.to(dtype)
    if tensor.dtype in _INTEGERS and dtype in _EXACT and tensor.device.type == "cpu":
        rounded = floats.to(torch.int64) != tensor
        if rounded.any():
            raise InvalidInput(
                f"The whole number {int(tensor[rounded][0])} is not exact in "
                f"{str(dtype).removeprefix('torch.')}, in which the model computes.",
                hint="Declare the input's dtype: --input 'int64[-1]' or --input 'float32[-1]'",
            )
    return floats


def _described(inputs: Any) -> str:
    """The names, dtypes and shapes of inputs."""
    parts = []
    for place, value in _parts(inputs):
        name = f"{place}:" if isinstance(place, str) and place else ""
        if isinstance(value, torch.Tensor):
            kind = f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
        else:
            kind = type(value).__name__
        parts.append(f"{name}{kind}".replace(" ", ""))
    return ", ".join(parts)
