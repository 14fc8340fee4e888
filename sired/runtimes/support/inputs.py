"""Maps a request's data to the arguments of a model's function."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sire.errors import InvalidInput, shown
from sire.nearest import did_you_mean
from sire.tensors import RATE_NAMES, Samples

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_BY_NAME = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
_IN_ORDER = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of a function.

    Attributes:
        named: those that can be passed by keyword.
        any_name: whether it accepts every keyword.
        required: those without a default.
        fewest: minimum number of positional arguments.
        most: maximum number of positional arguments; -1 if a keyword is required.
        rate_type: converts a sampling rate to what the function takes.
    """

    named: tuple[str, ...]
    any_name: bool
    required: frozenset[str]
    fewest: int
    most: float
    rate_type: Callable[[int], Any] = int

    @property
    def _rate(self) -> str:
        """The parameter for the sampling rate of a recording; "" if there is none."""
        return next((name for name in self.named if name.lower() in RATE_NAMES), "")

    def with_rate(self, given: Any) -> Any:
        """Inputs with the sampling rate of the recording among them, for a function that takes it.

        A recording alone becomes a dict. Inputs are returned unchanged if the function has no
        parameter for the rate, if they have it, or if the function requires further parameters.
        """
        recording = recording_in(given)
        if recording is None or not (rate := self._rate):
            return given
        others = [name for name in self.named if name != rate]
        required = [name for name in others if name in self.required] or others[:1]
        if not isinstance(given, dict):
            if len(required) != 1:
                return given
            given = {required[0]: given}
        return {rate: self.rate_type(recording.sampling_rate), **given}

    def arrange(self, given: Any) -> Arguments:
        """The positional and keyword arguments for these inputs.

        Raises:
            InvalidInput: their names or their number do not match.
        """
        given = self.with_rate(given)
        if isinstance(given, dict):
            if self._takes(given.keys()):
                return (), given
            self._check_names(given)
        in_order = given if isinstance(given, tuple) else (given,)
        if self.fewest <= len(in_order) <= self.most:
            return in_order, {}
        count = f"{len(in_order)} in order"
        received = ", ".join(map(str, given)) if isinstance(given, dict) else count
        raise InvalidInput(
            f"The model takes {', '.join(self.named) or 'nothing by name'}; given were {received}.",
            hint="Give each by its name: -i NAME=FILE. One that requests do not give can have a "
            "value: --input 'NAME:DTYPE[SHAPE]=VALUE', with the others declared as well.",
        )

    def _check_names(self, given: dict[Any, Any]) -> None:
        """Reject a name that is not a parameter, beside others that are.

        An object without any such name may be what the only parameter takes.
        """
        unknown = next((name for name in given if name not in self.named), None)
        if self.any_name or unknown is None or not any(name in self.named for name in given):
            return
        raise InvalidInput(
            f"The model has no input {shown(unknown)}: it takes {', '.join(self.named)}; "
            f"given were {', '.join(map(str, given))}.",
            hint=did_you_mean(str(unknown), self.named).strip(),
        )

    def _takes(self, names: Any) -> bool:
        return self.required <= names and (self.any_name or names <= set(self.named))


def recording_in(given: Any) -> Samples | None:
    """The recording that inputs are, or have among them by name; None if there is none."""
    values = given.values() if isinstance(given, dict) else (given,)
    return next((value for value in values if isinstance(value, Samples)), None)


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """The parameters of a ``forward`` or ``predict`` method, by its signature."""
    parameters = list(inspect.signature(function).parameters.values())
    kinds = {parameter.kind for parameter in parameters}
    required = [p for p in parameters if p.default is p.empty and p.kind in _BY_NAME | _IN_ORDER]
    in_order = [p for p in parameters if p.kind in _IN_ORDER]
    # A required keyword-only parameter cannot be passed by position.
    fewest = sum(p.kind in _IN_ORDER for p in required)
    reachable = all(p.kind in _IN_ORDER for p in required)
    unlimited = inspect.Parameter.VAR_POSITIONAL in kinds
    return Parameters(
        named=tuple(p.name for p in parameters if p.kind in _BY_NAME),
        any_name=inspect.Parameter.VAR_KEYWORD in kinds,
        required=frozenset(p.name for p in required),
        fewest=fewest,
        most=(float("inf") if unlimited else len(in_order)) if reachable else -1,
    )


def parameters_of_script(module: Any) -> Parameters:
    """The parameters of a TorchScript module, by its schema."""
    arguments = module.forward.schema.arguments[1:]
    of_rates = [str(a.type) for a in arguments if a.name.lower() in RATE_NAMES]
    required = [a.name for a in arguments if not a.has_default_value()]
    return Parameters(
        named=tuple(argument.name for argument in arguments),
        any_name=False,
        required=frozenset(required),
        fewest=len(required),
        most=len(arguments),
        rate_type=np.asarray if of_rates[:1] == ["Tensor"] else int,
    )


@dataclass(frozen=True, slots=True)
class FlatInputs:
    """The inputs of an exported program: tensors by name or in order.

    Attributes:
        names: of the inputs, in order.
        rebuild: maps the inputs, in order, to the arguments that the program was exported with.
    """

    names: Sequence[str]
    rebuild: Callable[[list[Any]], Arguments]

    def arrange(self, given: Any) -> Arguments:
        """The positional and keyword arguments for these inputs.

        Raises:
            InvalidInput: their names or their number do not match.
        """
        if isinstance(given, dict) and given.keys() == set(self.names):
            return self.rebuild([given[name] for name in self.names])
        in_order = given if isinstance(given, tuple) else (given,)
        if len(in_order) == len(self.names) and not isinstance(given, dict):
            return self.rebuild(list(in_order))
        received = ", ".join(given) if isinstance(given, dict) else f"{len(in_order)} in order"
        raise InvalidInput(f"The model takes {', '.join(self.names)}; given were {received}.")
