"""Finds strategies and policies by name: built-in ones, and those of other packages."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import TypeVar

from sire.errors import InvalidConfiguration
from sire.nearest import did_you_mean
from sired.scheduler.policies import eviction, placement, routing

Policy = TypeVar("Policy")


def find_strategy(name: str) -> placement.Strategy:
    """Find a placement strategy: a built-in one or an entry point of ``sire.placement``.

    Raises:
        InvalidConfiguration: it does not exist, or cannot be imported.
    """
    return _find("placement strategy", name, placement.BUILT_IN, "sire.placement")


def find_policy(name: str) -> eviction.Policy:
    """Find an eviction policy: a built-in one or an entry point of ``sire.eviction``.

    Raises:
        InvalidConfiguration: it does not exist, or cannot be imported.
    """
    return _find("eviction policy", name, eviction.BUILT_IN, "sire.eviction")


def find_router(name: str) -> routing.Router:
    """Find a routing strategy: a built-in one or an entry point of ``sire.routing``.

    Raises:
        InvalidConfiguration: it does not exist, or cannot be imported.
    """
    return _find("routing strategy", name, routing.BUILT_IN, "sire.routing")


def _find(what: str, name: str, built_in: Mapping[str, Policy], group: str) -> Policy:
    if name in built_in:
        return built_in[name]
    others = entry_points(group=group)
    if name not in others.names:
        names = sorted({*built_in, *others.names})
        hint = f"{did_you_mean(name, names)}There are: {', '.join(names)}."
        raise InvalidConfiguration(f"There is no {what} {name!r}.", hint=hint)
    try:
        found: Policy = others[name].load()
    except Exception as problem:
        raise InvalidConfiguration(
            f"The {what} {name!r} cannot be imported: {problem}"
        ) from problem
    return found
