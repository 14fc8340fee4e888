"""From a request's data to the arguments of a model's function."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sire.errors import InvalidInput

Arguments = tuple[tuple[Any, ...], dict[str, Any]]

_BY_NAME = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
_IN_ORDER = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a function takes.

    Attributes:
        named: what can be given by keyword; ``any_name`` if every name can.
        required: what has no default.
        fewest, most: how many can be given in order, the others left to their defaults.
    """

    named: tuple[str, ...]
    any_name: bool
    required: frozenset[str]
    fewest: int
    most: float

    def arrange(self, given: Any) -> Arguments:
        """The arguments that these inputs are.

        Raises:
            InvalidInput: the model takes others, by name or by number.
        """
        if isinstance(given, dict) and self._takes(given.keys()):
            return (), given
        in_order = given if isinstance(given, tuple) else (given,)
        if self.fewest <= len(in_order) <= self.most:
            return in_order, {}
        said = f"given were {', '.join(map(str, given))}" if isinstance(given, dict) else ""
        raise InvalidInput(
            f"The model takes {', '.join(self.named) or 'nothing by name'}; "
            f"{said or f'given were {len(in_order)} in order'}."
        )

    def _takes(self, names: Any) -> bool:
        return self.required <= names and (self.any_name or names <= set(self.named))


def parameters_of(function: Callable[..., Any]) -> Parameters:
    """What a ``forward`` or ``predict`` takes, by its signature."""
    parameters = list(inspect.signature(function).parameters.values())
    kinds = {parameter.kind for parameter in parameters}
    required = [p for p in parameters if p.default is p.empty and p.kind in _BY_NAME | _IN_ORDER]
    in_order = [p for p in parameters if p.kind in _IN_ORDER]
    # A keyword without a default cannot be given in order: then no number of inputs will do.
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
    """What a TorchScript module takes, by its schema."""
    arguments = module.forward.schema.arguments[1:]
    required = [a.name for a in arguments if not a.has_default_value()]
    return Parameters(
        named=tuple(argument.name for argument in arguments),
        any_name=False,
        required=frozenset(required),
        fewest=len(required),
        most=len(arguments),
    )


@dataclass(frozen=True, slots=True)
class FlatInputs:
    """The inputs of an exported program: tensors by name or in order.

    Attributes:
        names: of the inputs, in their order.
        rebuild: from the inputs in order to the arguments the program was exported with.
    """

    names: Sequence[str]
    rebuild: Callable[[list[Any]], Arguments]

    def arrange(self, given: Any) -> Arguments:
        """The arguments that these inputs are.

        Raises:
            InvalidInput: the program takes others, by name or by number.
        """
        if isinstance(given, dict) and given.keys() == set(self.names):
            return self.rebuild([given[name] for name in self.names])
        in_order = given if isinstance(given, tuple) else (given,)
        if len(in_order) == len(self.names) and not isinstance(given, dict):
            return self.rebuild(list(in_order))
        said = ", ".join(given) if isinstance(given, dict) else f"{len(in_order)} in order"
        raise InvalidInput(f"The model takes {', '.join(self.names)}; given were {said}.")
