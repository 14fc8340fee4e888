"""Finding the strategy of a name: a built-in one, or another package's."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from sired.errors import InvalidConfiguration
from sired.scheduler import placement, routing


def find_strategy(name: str) -> placement.Strategy:
    """The placement strategy of that name; others are entry points of ``sired.placement``.

    Raises:
        InvalidConfiguration: there is none of that name, or it cannot be imported.
    """
    strategy: placement.Strategy = _find("placement", name, placement.BUILT_IN)
    return strategy


def find_router(name: str) -> routing.Router:
    """The routing strategy of that name; others are entry points of ``sired.routing``.

    Raises:
        InvalidConfiguration: there is none of that name, or it cannot be imported.
    """
    router: routing.Router = _find("routing", name, routing.BUILT_IN)
    return router


def _find(kind: str, name: str, built_in: Mapping[str, Any]) -> Any:
    if name in built_in:
        return built_in[name]
    others = entry_points(group=f"sired.{kind}")
    if name not in others.names:
        names = ", ".join(sorted({*built_in, *others.names}))
        raise InvalidConfiguration(
            f"There is no {kind} strategy {name!r}.", hint=f"There are: {names}."
        )
    try:
        return others[name].load()
    except Exception as problem:
        raise InvalidConfiguration(
            f"The {kind} strategy {name!r} cannot be imported: {problem}"
        ) from problem
