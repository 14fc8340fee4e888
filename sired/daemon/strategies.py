"""Finding the placement strategy of a name: a built-in one, or another package's."""

from importlib.metadata import entry_points

from sired.errors import InvalidConfiguration
from sired.scheduler.placement import BUILT_IN, Strategy


def find_strategy(name: str) -> Strategy:
    """The strategy of that name; others register theirs as entry points of ``sired.placement``.

    Raises:
        InvalidConfiguration: there is none of that name, or it cannot be imported.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    others = entry_points(group="sired.placement")
    if name not in others.names:
        names = ", ".join(sorted({*BUILT_IN, *others.names}))
        raise InvalidConfiguration(
            f"There is no placement strategy {name!r}.", hint=f"There are: {names}."
        )
    try:
        strategy: Strategy = others[name].load()
    except Exception as problem:
        raise InvalidConfiguration(
            f"The placement strategy {name!r} cannot be imported: {problem}"
        ) from problem
    return strategy
