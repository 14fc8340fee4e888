"""Finding the runtime of a name."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from sire.errors import InvalidModel, LoadFailed
from sired.runtimes.base import InferenceRuntime

GROUP = "sire.runtimes"


@cache
def installed() -> dict[str, EntryPoint]:
    """The runtimes that are installed, by name. Looking takes milliseconds, so it is done once."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def find_runtime(name: str) -> InferenceRuntime:
    """The runtime of that name, imported now.

    Raises:
        InvalidModel: none of that name is installed.
        LoadFailed: it needs a package that is not installed.
    """
    found = installed()
    if name not in found:
        raise InvalidModel(
            f"There is no runtime {name!r}.", hint=f"There are: {', '.join(sorted(found))}."
        )
    try:
        runtime: InferenceRuntime = found[name].load()()
    except ImportError as problem:
        raise LoadFailed(
            f"The runtime {name} cannot be imported: {problem}.",
            hint=f"Install it into the daemon's Python: {_install(found[name], problem)}",
        ) from problem
    return runtime


def _install(entry: EntryPoint, problem: ImportError) -> str:
    """The command that brings what is missing: an extra of the runtime's package if it has one."""
    if entry.extras and entry.dist:
        return f"pip install '{entry.dist.name}[{','.join(entry.extras)}]'"
    return f"pip install {problem.name or entry.name}"
