"""Finding strategies and policies by name: built-in ones, or another package's."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TypeVar

from sire.errors import InvalidConfiguration
from sire.nearest import did_you_mean
from sired.scheduler.policies import eviction, placement, routing

Found = TypeVar("Found")


def find_strategy(name: str) -> placement.Strategy:
    """The strategy of that name; others register theirs as entry points of ``sire.placement``.

    Raises:
        InvalidConfiguration: there is none of that name, or it cannot be imported.
    """
    return _find("placement strategy", name, placement.BUILT_IN, "sire.placement")


def find_policy(name: str) -> eviction.Policy:
    """The policy of that name; others register theirs as entry points of ``sire.eviction``.

    Raises:
        InvalidConfiguration: there is none of that name, or it cannot be imported.
    """
    return _find("eviction policy", name, eviction.BUILT_IN, "sire.eviction")


def find_router(name: str) -> routing.Router:
    """The routing strategy of that name; others are entry points of ``sire.routing``.

    Raises:
        InvalidConfiguration: there is none of that name, or it cannot be imported.
    """
    return _find("routing strategy", name, routing.BUILT_IN, "sire.routing")


def _find(what: str, name: str, built_in: Mapping[str, Found], group: str) -> Found:
    if name in built_in:
        return built_in[name]
    others = entry_points(group=group)
    if name not in others.names:
        names = sorted({*built_in, *others.names})
        hint = f"{did_you_mean(name, names)}There are: {', '.join(names)}."
        raise InvalidConfiguration(f"There is no {what} {name!r}.", hint=hint)
    try:
        found: Found = others[name].load()
    except Exception as problem:
        raise InvalidConfiguration(
            f"The {what} {name!r} cannot be imported: {problem}"
        ) from problem
    return found
