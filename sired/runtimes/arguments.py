"""A model's ``--arg`` arguments, checked against the record that its runtime declares.

There is one implementation of the check: the daemon runs it when a model is registered, and a
worker when it loads the model.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar, get_type_hints

import msgspec

from sire.errors import InvalidModel, shown
from sire.nearest import did_you_mean
from sire.options.table import BY_NAME
from sire.spec import ModelSpec
from sired.runtimes.traits import RuntimeTraits

# What every ``load`` is given besides the model's own arguments.
LOAD_KEYWORDS = frozenset(
    {"device", "format", "model_class", "python_path", "trusted", "weight_bytes"}
)
# Another one: the arguments of a model's class that are called like these.
CLASS_ARGUMENTS = "class_arguments"

Record = TypeVar("Record", bound=msgspec.Struct)


def check_arguments(traits: RuntimeTraits, spec: ModelSpec) -> None:
    """Check a model's arguments as far as that is possible without importing its class.

    Names that the runtime does not declare, and those of ``LOAD_KEYWORDS``, are accepted where they
    go to the constructor of the model's class. Values of declared arguments are not checked then
    either: the constructor may have a parameter of the same name, and takes precedence.

    Raises:
        InvalidModel: an argument is unknown, missing, or has a value of the wrong type.
    """
    to_class = traits.passes_to_class(spec)
    reserved = sorted((LOAD_KEYWORDS | {CLASS_ARGUMENTS}) & spec.args.keys())
    if reserved and not (to_class and LOAD_KEYWORDS.issuperset(reserved)):
        raise InvalidModel(
            f"{reserved[0]!r} cannot be given as an argument.",
            hint=f"These names have options of their own: {', '.join(sorted(LOAD_KEYWORDS))}.",
        )
    if to_class:
        return
    owner = f"The runtime {traits.name}"
    file_format = traits.format(spec.format)
    accepted = None
    if file_format is not None and file_format.arguments is not None:
        owner, accepted = f"{owner}, for {file_format.name} files,", file_format.arguments
    read_arguments(traits.arguments, spec.args, owner, accepted)


def own_arguments(keywords: Mapping[str, Any]) -> dict[str, Any]:
    """The model's own arguments, of the keywords that a runtime's ``load`` was called with."""
    own = {name: value for name, value in keywords.items() if name not in LOAD_KEYWORDS}
    to_class = own.pop(CLASS_ARGUMENTS, {})
    return {**own, **to_class}


def read_arguments(
    record: type[Record],
    given: Mapping[str, Any],
    owner: str,
    accepted: Collection[str] | None = None,
) -> Record:
    """Read arguments into a record.

    Args:
        record: its fields declare names, types and defaults. It may raise InvalidModel in
            ``__post_init__`` for values that do not go together.
        given: the arguments by name.
        owner: what takes them; begins a sentence.
        accepted: those of the record's fields that may be given; None for all.

    Raises:
        InvalidModel: an argument is unknown, missing, or has a value of the wrong type.
    """
    kinds = get_type_hints(record, include_extras=True)
    reject_unknown(given, kinds if accepted is None else sorted(accepted), owner)
    for name, value in given.items():
        _check_value(name, value, kinds[name], owner)
    required = [field.name for field in msgspec.structs.fields(record) if field.required]
    if missing := next((name for name in required if name not in given), None):
        raise InvalidModel(
            f"{owner} requires the argument {missing!r}.",
            hint=f"Specify it: --arg {missing}=…, which takes {accepted_values(kinds[missing])}.",
        )
    return msgspec.convert(dict(given), record)


def reject_unknown(given: Iterable[str], known: Collection[str], owner: str) -> None:
    """Reject the first name that is not known, naming the nearest one and all of them.

    Raises:
        InvalidModel: a name is not known.
    """
    unknown = next((name for name in given if name not in known), None)
    if unknown is None:
        return
    accepted = f"Accepted are: {', '.join(known)}." if known else "It takes none."
    raise InvalidModel(
        f"{owner} takes no argument {shown(unknown)}.",
        # In Python a misspelled option of the model is an argument as well.
        hint=f"{did_you_mean(unknown, [*known, *BY_NAME])}{accepted}",
    )


def _check_value(name: str, value: Any, kind: Any, owner: str) -> None:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        raise InvalidModel(
            f"{owner} cannot take {name}={shown(value)}.",
            hint=f"{name} takes {accepted_values(kind)}.",
        ) from None


def accepted_values(kind: Any) -> str:
    """The values that a type accepts, in words: "true or false", "a whole number >= 1"."""
    described = msgspec.inspect.type_info(kind)
    members = described.types if isinstance(described, msgspec.inspect.UnionType) else (described,)
    return " or ".join(filter(None, map(_in_words, members)))


def _in_words(kind: msgspec.inspect.Type) -> str:
    match kind:
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType() | msgspec.inspect.FloatType():
            number = "a number" if isinstance(kind, msgspec.inspect.FloatType) else "a whole number"
            return f"{number}{_bounds(kind)}"
        case msgspec.inspect.StrType():
            return "text"
        case msgspec.inspect.LiteralType():
            return f"one of {', '.join(filter(None, map(str, kind.values)))}"
        case msgspec.inspect.DictType() | msgspec.inspect.StructType():
            return "an object of names and values"
        case msgspec.inspect.NoneType():
            return ""
        case _:
            return "a list"


def _bounds(kind: msgspec.inspect.IntType | msgspec.inspect.FloatType) -> str:
    bounds = {">=": kind.ge, ">": kind.gt, "<=": kind.le, "<": kind.lt}
    given = [f"{sign} {bound:g}" for sign, bound in bounds.items() if bound is not None]
    return f" {' and '.join(given)}" if given else ""
