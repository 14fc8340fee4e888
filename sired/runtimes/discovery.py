"""Finds runtimes by name: their traits anywhere, their implementations in workers only."""

import logging
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from sire.errors import InvalidModel, LoadFailed, SireError, shown
from sire.nearest import did_you_mean
from sired.runtimes.base import InferenceRuntime
from sired.runtimes.traits import RuntimeTraits

GROUP = "sire.runtimes"
# Methods that are called only if the trait is set: trait, method.
OPTIONAL_METHODS = (
    ("class_arguments", "check_arguments"),
    ("streams_files", "streams_files"),
    ("checks", "check_files"),
    ("estimates", "estimate"),
    ("accepts_dummy_input", "accepts_dummy_input"),
    ("sleeps", "can_sleep"),
    ("serves_http", "url"),
)

log = logging.getLogger(__name__)


@cache
def installed() -> dict[str, EntryPoint]:
    """The entry points of the installed runtimes, by name; read once, which takes milliseconds."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


@cache
def find_traits(name: str) -> RuntimeTraits:
    """The traits of the runtime of that name.

    Raises:
        InvalidModel: no runtime of that name is installed.
        LoadFailed: its entry point cannot be imported, or does not name its traits.
    """
    found = installed()
    if name not in found:
        raise InvalidModel(
            f"The runtime {shown(name)} is not installed.",
            hint=f"{did_you_mean(name, found)}Installed are: {', '.join(sorted(found))}.",
        )
    try:
        traits = found[name].load()
    except Exception as problem:
        raise LoadFailed(
            f"The traits of the runtime {name} cannot be imported: {problem}"
        ) from problem
    if not isinstance(traits, RuntimeTraits) or traits.name != name:
        raise LoadFailed(
            f"The entry point of the runtime {name} does not name its traits: {found[name].value}.",
            hint=f"It has to name a RuntimeTraits object whose name is {name!r}.",
        )
    return traits


@cache
def all_traits() -> tuple[RuntimeTraits, ...]:
    """The traits of all installed runtimes, without those that cannot be imported."""
    known = []
    for name in installed():
        try:
            known.append(find_traits(name))
        except SireError as problem:
            log.warning("%s", problem)
    return tuple(known)


def is_out_of_process(name: str) -> bool:
    """Whether models of a runtime are held by another process; False if it is not installed."""
    return any(traits.out_of_process for traits in all_traits() if traits.name == name)


def serves_http(name: str) -> bool:
    """Whether programs that hold models of a runtime serve any client over HTTP."""
    return any(traits.serves_http for traits in all_traits() if traits.name == name)


def find_runtime(name: str) -> InferenceRuntime:
    """A new object of the runtime of that name; imports its framework.

    Raises:
        InvalidModel: no runtime of that name is installed.
        LoadFailed: it needs a package that is not installed, or contradicts its traits.
    """
    traits = find_traits(name)
    try:
        kind = pkgutil.resolve_name(traits.implementation)
    except ImportError as problem:
        raise LoadFailed(
            f"The runtime {name} cannot be imported: {problem}.",
            hint=f"Install it into the daemon's Python: {_install(installed()[name], problem)}",
        ) from problem
    _check_methods(traits, kind)
    runtime: InferenceRuntime = kind()
    runtime.traits = traits
    return runtime


def _check_methods(traits: RuntimeTraits, kind: type[InferenceRuntime]) -> None:
    """Ensure that a runtime overrides exactly those optional methods that its traits promise."""
    for trait, method in OPTIONAL_METHODS:
        overrides = getattr(kind, method) is not getattr(InferenceRuntime, method)
        if overrides != getattr(traits, trait):
            does = "overrides" if overrides else "does not override"
            raise LoadFailed(
                f"The runtime {traits.name} contradicts its traits: {trait} is "
                f"{not overrides}, and {kind.__name__} {does} {method}."
            )


def _install(entry: EntryPoint, problem: ImportError) -> str:
    """The command that installs what is missing: an extra of the runtime's package, if any."""
    if entry.extras and entry.dist:
        return f"pip install '{entry.dist.name}[{','.join(entry.extras)}]'"
    return f"pip install {problem.name or entry.name}"
