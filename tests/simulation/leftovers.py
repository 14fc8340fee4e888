"""Objects that are still reachable from a scheduler that should have released everything."""

from collections.abc import Iterator, Mapping
from typing import Any

from sire.errors import SireError
from sired.scheduler.brain import Brain
from sired.scheduler.entities.instance import Instance
from sired.scheduler.entities.lease import Lease
from sired.scheduler.entities.model import Model
from sired.scheduler.entities.pending import PendingLoad
from sired.scheduler.entities.request import Request

REMEMBERED = (Instance, Lease, Model, PendingLoad, Request, SireError)


def leftovers(brain: Brain) -> list[Any]:
    """Every instance, lease, model, load, request and error that the scheduler still refers to."""
    seen: set[int] = set()
    found: list[Any] = []
    stack: list[object] = [brain]
    while stack:
        thing = stack.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, REMEMBERED):
            found.append(thing)
        stack += parts(thing)
    return found


def parts(thing: Any) -> Iterator[object]:
    """The entries of a container, or the attributes of an object of the scheduler's classes."""
    if isinstance(thing, Mapping):
        yield from thing.keys()
        yield from thing.values()
    elif isinstance(thing, (list, tuple, set, frozenset)):
        yield from thing
    elif type(thing).__module__.startswith("sired.scheduler"):
        yield from getattr(thing, "__dict__", {}).values()
        for name in getattr(type(thing), "__slots__", ()):
            yield getattr(thing, name, None)
