"""A runtime's own arguments: read into a record, and refused by name where they are none of it."""

from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import msgspec

from sire.errors import InvalidModel
from sire.nearest import did_you_mean

Record = TypeVar("Record", bound=msgspec.Struct)


def read_record(kind: type[Record], given: Mapping[str, Any], owner: str) -> Record:
    """The arguments of a model as a record of options.

    Args:
        kind: the record; its fields' types say what may be given.
        given: by name.
        owner: who takes them, to begin a sentence.

    Raises:
        InvalidModel: one is not known, or has a value that it cannot have.
    """
    known = [field.name for field in msgspec.structs.fields(kind)]
    refuse_unknown(given, known, f"{owner} takes no argument")
    for name, value in given.items():
        _check(kind, name, value)
    return msgspec.convert(dict(given), kind)


def refuse_unknown(given: Collection[str], known: Collection[str], said: str) -> None:
    """Refuse what is not known, with what comes nearest and all that there is.

    Args:
        given: names.
        known: those there are.
        said: what to say of the first that is none of these, before its name.

    Raises:
        InvalidModel: one is none of these.
    """
    unknown = next((name for name in given if name not in known), None)
    if unknown is None:
        return
    raise InvalidModel(
        f"{said} {unknown!r}.", hint=f"{did_you_mean(unknown, known)}There are: {', '.join(known)}."
    )


def _check(kind: type[Record], name: str, value: Any) -> None:
    try:
        msgspec.convert({name: value}, kind)
    except msgspec.ValidationError as problem:
        said = str(problem).partition(" - at ")[0]
        raise InvalidModel(
            f"{name}={value!r} cannot be: {said}.", hint=_choices(kind, name)
        ) from None


def _choices(kind: type[Record], name: str) -> str:
    """What an option can be, where that is one of a few words."""
    field = next(f for f in msgspec.inspect.type_info(kind).fields if f.name == name)  # type: ignore[attr-defined]
    kinds = getattr(field.type, "types", (field.type,))
    words = [value for one in kinds for value in getattr(one, "values", ())]
    return f"It can be {', '.join(map(str, words))}." if words else ""
