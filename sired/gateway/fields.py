"""Bodies of requests in other servers' APIs: which fields are taken, ignored or refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from sire.errors import InvalidInput, error_text, shown

_Kind = TypeVar("_Kind", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Accepted:
    """Fields besides those of a request's record.

    Attributes:
        without_effect: those that concern the caller's bookkeeping, or how a service is run.
        neutral: what others may say, namely that nothing is wanted of them.
    """

    without_effect: frozenset[str] = frozenset()
    neutral: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


def read_fields(body: Any, kind: type[_Kind], accepted: Accepted) -> _Kind:
    """A body as a record.

    Raises:
        InvalidInput: a field is missing, not valid, or asks for what is not supported.
    """
    if not isinstance(body, Mapping):
        raise InvalidInput("The body is not a JSON object.")
    known = {one.name for one in msgspec.structs.fields(kind)}
    for name, value in body.items():
        if name in known or name in accepted.without_effect or value is None:
            continue
        if value not in accepted.neutral.get(name, ()):
            raise InvalidInput(
                f"{shown(name)} is not supported for models that sire runs itself.",
                hint="Omit it, or run the model by a program that knows it: sire register --cmd",
                param=name,
            )
    given = {name: value for name, value in body.items() if value is not None}
    try:
        return msgspec.convert(given, kind)
    except msgspec.ValidationError as problem:
        raise InvalidInput(f"The request is not valid: {error_text(problem)}.") from None
