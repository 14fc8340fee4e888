"""What handlers declare for ``/openapi.json``: the bodies that they take and return."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

_Handle = TypeVar("_Handle", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Described:
    """A handler.

    Attributes:
        summary: the first sentence of its documentation.
        takes: the type of its JSON body; None for none.
        returns: the type of its JSON response; None if it varies.
        status: of that response.
        query: the names of the parameters that it takes.
    """

    summary: str
    takes: Any = None
    returns: Any = None
    status: int = 200
    query: tuple[str, ...] = ()


_DESCRIBED: dict[object, Described] = {}


def describe(
    takes: Any = None, returns: Any = None, *, status: int = 200, query: tuple[str, ...] = ()
) -> Callable[[_Handle], _Handle]:
    """Declare the body and the response of a handler; its documentation is the summary."""

    def declare(handle: _Handle) -> _Handle:
        _DESCRIBED[handle] = Described(_summary(handle), takes, returns, status, query)
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
