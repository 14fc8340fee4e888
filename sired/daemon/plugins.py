"""Finds strategies and policies by name: built-in ones, and those of other packages.

Those of other packages are guarded: the scheduler must decide also where they fail.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any, TypeVar, cast

from sire.errors import InvalidConfiguration
from sire.nearest import did_you_mean
from sired.scheduler.policies import eviction, placement, routing

Policy = TypeVar("Policy", bound=Callable[..., Any])

log = logging.getLogger(__name__)

# Problems of one plugin that are logged; it is called for every decision.
_MOST_REPORTS = 10


def find_strategy(name: str) -> placement.Strategy:
    """Find a placement strategy: a built-in one or an entry point of ``sire.placement``.

    Raises:
        InvalidConfiguration: it does not exist, or cannot be imported.
    """
    what = "placement strategy"
    found = _find(what, name, placement.BUILT_IN, "sire.placement")
    if name in placement.BUILT_IN:
        return found

    def reorders(order: list[placement.Place], places: Sequence[placement.Place], _: int) -> bool:
        return len(order) == len(places) and all(place in places for place in order)

    return _guarded(f"{what} {name}", found, placement.least_memory_used, reorders)


def find_policy(name: str) -> eviction.Policy:
    """Find an eviction policy: a built-in one or an entry point of ``sire.eviction``.

    Raises:
        InvalidConfiguration: it does not exist, or cannot be imported.
    """
    what = "eviction policy"
    found = _find(what, name, eviction.BUILT_IN, "sire.eviction")
    if name in eviction.BUILT_IN:
        return found

    def is_number(cost: object, *_: object) -> bool:
        return isinstance(cost, int | float) and not math.isnan(cost)  # NaN has no order

    return _guarded(f"{what} {name}", found, eviction.lru, is_number)


def find_router(name: str) -> routing.Router:
    """Find a routing strategy: a built-in one or an entry point of ``sire.routing``.

    Raises:
        InvalidConfiguration: it does not exist, or cannot be imported.
    """
    what = "routing strategy"
    found = _find(what, name, routing.BUILT_IN, "sire.routing")
    if name in routing.BUILT_IN:
        return found

    def chooses(choice: routing.Choice, choices: Sequence[routing.Choice]) -> bool:
        return choice in choices

    return _guarded(f"{what} {name}", found, routing.least_loaded, chooses)


def _guarded(name: str, plugin: Policy, substitute: Policy, valid: Callable[..., bool]) -> Policy:
    """A plugin that is replaced, call by call, where it raises or returns nonsense.

    Args:
        name: what the log calls it.
        plugin: the strategy or policy.
        substitute: the built-in one to use instead.
        valid: whether a result, given first, is valid for the arguments, given next.
    """
    reported: set[str] = set()

    def report(problem: str) -> None:
        if problem not in reported and len(reported) < _MOST_REPORTS:
            reported.add(problem)
            log.error("the %s %s; the built-in one decides instead", name, problem)

    call: Callable[..., Any] = plugin

    def guarded(*arguments: Any) -> Any:
        try:
            result = call(*arguments)
            if valid(result, *arguments):
                return result
            report("returned a result that is not valid")
        except Exception as problem:
            report(f"raised {type(problem).__name__}: {problem}")
        return substitute(*arguments)

    return cast("Policy", guarded)


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
