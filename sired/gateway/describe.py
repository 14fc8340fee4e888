"""What handlers declare for ``/openapi.json``: the bodies that they take and return."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

_Handle = TypeVar("_Handle", bound=Callable[..., Any])
EVENTS, LINES = "text/event-stream", "application/x-ndjson"


@dataclass(frozen=True, slots=True)
class Described:
    """A handler.

    Attributes:
        summary: the first sentence of its documentation.
        takes: the type of its JSON body; ``bytes`` for a body of another kind, None for none.
        returns: the type of its JSON response; ``bytes`` for a response of another kind, None for
            JSON of any type.
        query: the names of the parameters that it takes.
        statuses: of such a response; others are errors.
        streams: the content type of a response in parts; "" if there is none.
    """

    summary: str
    takes: Any = None
    returns: Any = None
    query: tuple[str, ...] = ()
    statuses: tuple[int, ...] = (200,)
    streams: str = ""


_DESCRIBED: dict[object, Described] = {}


def describe(
    takes: Any = None,
    returns: Any = None,
    *,
    query: tuple[str, ...] = (),
    statuses: tuple[int, ...] = (200,),
    streams: str = "",
) -> Callable[[_Handle], _Handle]:
    """Declare the body and the response of a handler; its documentation is the summary."""

    def declare(handle: _Handle) -> _Handle:
        _DESCRIBED[handle] = Described(_summary(handle), takes, returns, query, statuses, streams)
        return handle

    return declare


def described(handle: object) -> Described:
    """What a handler has declared, be it a function, a method or an object around one."""
    inner = getattr(handle, "described", handle)
    inner = getattr(inner, "__func__", inner)
    return _DESCRIBED.get(inner) or Described(_summary(inner))


def _summary(handle: object) -> str:
    lines = (getattr(handle, "__doc__", None) or "").strip().splitlines()
    return lines[0] if lines else ""
