"""Finds the weights of a class in what training scripts save.

A checkpoint can hold weights below a key, beside an optimizer's state and averaged copies of them
(``{"model": …, "ema": …}``), and wrappers can put a prefix before each name (``module.``,
``_orig_mod.``, or the attribute of a Lightning module). The weights whose names and shapes are
those of the class are found. If several are, averaged copies come last, and otherwise the order
of ``_USUAL``; without a usual name the user has to choose.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from sire.errors import InvalidModel, shown
from sired.runtimes.pytorch.wanted_weights import EXTRA_STATE, Wanted

# Keys and prefixes of weights, the most usual ones first.
_USUAL = (
    "",
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "module",
    "net",
    "network",
    "weights",
    "params",
)
_AVERAGED = re.compile(r"(^|[._])(ema|swa|polyak|shadow|averaged?|target|teacher)([._]|\d|$)")
# Wrappers of a module, or of one within it, that put their own name into those of its weights.
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_DEEPEST = 4
_NAMED = 8


@dataclass(frozen=True, slots=True)
class CheckpointReading:
    """One way to read weights from a checkpoint.

    Attributes:
        key: where they are, dotted; "" for the whole file.
        values: what is there.
        names: the name in ``values`` of each weight, by its name in the class.
        prefix: that is removed from their names.
        removed: names of wrappers that are removed from within their names.
        misfits: how many do not match the class.
    """

    key: str
    values: Mapping[str, Any]
    names: dict[str, str]
    prefix: str
    removed: tuple[str, ...]
    misfits: int

    @property
    def ignored(self) -> list[str]:
        """The names that are left out."""
        used = set(self.names.values())
        return [name for name in self.values if name not in used]

    @property
    def rank(self) -> tuple[bool, int]:
        """Sorts averaged copies last, and usual keys and prefixes first."""
        path = f"{self.key}.{self.prefix}".strip(".")
        order = [_USUAL.index(part) for part in (self.key, self.prefix[:-1]) if part in _USUAL]
        return _AVERAGED.search(path) is not None, sum(order) if len(order) == 2 else len(_USUAL)

    @property
    def choice(self) -> str:
        """The argument that chooses it."""
        key = f"--arg key={self.key}" if self.key else ""
        return f"{key}{' ' if key and self.prefix else ''}{self._strip}"

    @property
    def _strip(self) -> str:
        return f"--arg strip={self.prefix}" if self.prefix else ""

    def weights(self) -> dict[str, Any]:
        """The weights by their names in the class, with the versions of its modules."""
        found = _Versioned((name, _tensor(self.values[old])) for name, old in self.names.items())
        versions = getattr(self.values, "_metadata", None)
        if isinstance(versions, Mapping):
            found._metadata = {  # noqa: SLF001 (PyTorch's name)
                _without(f"{name}.", self.removed).removeprefix(self.prefix).rstrip("."): version
                for name, version in versions.items()
                if isinstance(name, str)
            }
        return found


class _Versioned(dict[str, Any]):
    """A state_dict; PyTorch looks for the versions of modules in this attribute."""

    _metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """Weights of a class, and sentences about what was chosen and left out."""

    weights: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    keys: str = ""


def find_weights(
    content: Any, wanted: Wanted, path: str, key: str | None, strip: str | None
) -> Found:
    """The weights of a class in a checkpoint.

    Args:
        content: of the file.
        wanted: the weights of the class.
        path: of the file, for errors.
        key: where the weights are, dotted; "" for the whole file, None to search for them.
        strip: the prefix to remove from their names; None to find it.

    Returns:
        The weights. If none match the class, those that match best.

    Raises:
        InvalidModel: there are none at ``key``, or several sets of weights match.
    """
    places = dict(_places(content))
    if key is not None:
        places = {key: _at(content, key, path, places)}
    if not places:
        described = (
            f"its keys are {_listed(content)}"
            if isinstance(content, Mapping)
            else (f"it contains a {type(content).__name__}")
        )
        raise InvalidModel(
            f"{path} contains no state_dict: {described}.", hint="Save model.state_dict()."
        )
    readings = [
        reading
        for place, values in places.items()
        for reading in _readings(place, values, wanted, strip)
    ]
    fitting = sorted((one for one in readings if not one.misfits), key=lambda one: one.rank)
    if not fitting:
        best = min(readings, key=lambda one: (one.misfits, one.rank))
        return Found(best.weights(), keys=_described(places))
    chosen, *others = fitting
    if others and others[0].rank == chosen.rank:
        choices = " or ".join(one.choice or '--arg key=""' for one in fitting[:_NAMED])
        raise InvalidModel(
            f"{path} contains {len(fitting)} sets of weights that match {wanted.owner}.",
            hint=f"Choose one: {choices}",
        )
    return Found(chosen.weights(), list(_notes(chosen, others)))


def _places(content: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every state_dict in a checkpoint, with its dotted key."""
    if not isinstance(content, Mapping) or depth > _DEEPEST:
        return
    if _is_state_dict(content):
        yield key, content
        return
    for name, value in content.items():
        if isinstance(name, str):
            yield from _places(value, f"{key}.{name}" if key else name, depth + 1)


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    tensors = 0
    for name, value in content.items():
        if not isinstance(name, str):
            return False
        if isinstance(value, torch.Tensor | np.ndarray):
            tensors += 1
        elif not name.endswith(EXTRA_STATE):
            return False
    return tensors > 0


def _at(
    content: Any, key: str, path: str, places: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    """What is at a dotted key, whose parts may contain dots themselves."""
    value, rest = content, key
    while rest and isinstance(value, Mapping):
        part = max((p for p in value if _begins(rest, p)), key=len, default=None)
        if part is None:
            break
        value, rest = value[part], rest[len(part) + 1 :]
    if rest or not isinstance(value, Mapping):
        raise InvalidModel(
            f"{path} has no weights at the key {shown(key)}.",
            hint=f"It has weights at: {', '.join(places) or 'no key'}.",
        )
    return {name: item for name, item in value.items() if isinstance(name, str)}


def _begins(key: str, part: Any) -> bool:
    return isinstance(part, str) and (key == part or key.startswith(f"{part}."))


def _readings(
    key: str, values: Mapping[str, Any], wanted: Wanted, strip: str | None
) -> Iterator[CheckpointReading]:
    """Ways to read the weights at a key: as they are, or without prefixes and wrappers."""
    if strip is not None:
        prefix = strip if strip.endswith(".") or not strip else f"{strip}."
        yield _reading(key, values, wanted, prefix, ())
        return
    first = _reading(key, values, wanted, "", ())
    yield first
    if not first.misfits:
        return
    for wrappers in ((), _WRAPPERS, (*_WRAPPERS, "module")):
        removed = tuple(one for one in wrappers if any(one in name.split(".") for name in values))
        if wrappers and not removed:
            continue
        prefixes = _prefixes((_without(name, removed) for name in values), wanted)
        found = [_reading(key, values, wanted, prefix, removed) for prefix in prefixes]
        yield from found
        if copies := tuple(one.prefix for one in found if not one.misfits):
            yield from _beside(found, copies, wanted)
            return


def _beside(
    found: Iterable[CheckpointReading], copies: tuple[str, ...], wanted: Wanted
) -> Iterator[CheckpointReading]:
    """Those readings that match but for copies of the weights, which have a longer prefix."""
    for one in (one for one in found if one.misfits):
        rest = {
            name: value
            for name, value in one.values.items()
            if not _without(name, one.removed).startswith(copies)
        }
        reading = _reading(one.key, rest, wanted, one.prefix, one.removed)
        if not reading.misfits:
            yield reading


def _prefixes(names: Iterable[str], wanted: Wanted) -> list[str]:
    """What precedes a name of the class in the names of a checkpoint."""
    found: dict[str, None] = {}
    for name in names:
        parts = name.split(".")
        for count in range(len(parts)):
            if ".".join(parts[count:]) in wanted.shapes:
                found["".join(f"{part}." for part in parts[:count])] = None
    return list(found)


def _reading(
    key: str,
    values: Mapping[str, Any],
    wanted: Wanted,
    prefix: str,
    removed: tuple[str, ...],
) -> CheckpointReading:
    names: dict[str, str] = {}
    twice = 0
    for name in values:
        plain = _without(name, removed)
        if plain.startswith(prefix):
            twice += plain[len(prefix) :] in names
            names[plain[len(prefix) :]] = name
    misfits = wanted.misfits(names, values) + twice
    return CheckpointReading(key, values, names, prefix, removed, misfits)


def _without(name: str, wrappers: Iterable[str]) -> str:
    """A name without the parts that are wrappers."""
    if not wrappers:
        return name
    return ".".join(part for part in name.split(".") if part not in wrappers)


def _tensor(value: Any) -> Any:
    return torch.from_numpy(value) if isinstance(value, np.ndarray) else value


def _notes(chosen: CheckpointReading, others: list[CheckpointReading]) -> Iterator[str]:
    if chosen.key:
        yield f"Its weights are those at the key {shown(chosen.key)}."
    removed = [*(f"{name}." for name in chosen.removed), *filter(None, [chosen.prefix])]
    if removed:
        yield f"Removed from their names: {' and '.join(map(shown, removed))}."
    if chosen.ignored:
        yield f"Ignored: {_listed(chosen.ignored)}."
    if others:
        choices = ", ".join(one.choice or '--arg key=""' for one in others[:_NAMED])
        yield f"Other weights in it match as well ({choices})."


def _described(places: Mapping[str, Mapping[str, Any]]) -> str:
    """The names of all weights in a checkpoint, shortened."""
    parts = [
        f"{f'at {shown(key)}: ' if key else ''}{_listed(values)}"
        for key, values in list(places.items())[:_NAMED]
    ]
    return "; ".join(parts)


def _listed(names: Iterable[Any]) -> str:
    every = [str(name) for name in names]
    more = f" … ({len(every)} in all)" if len(every) > _NAMED else ""
    return f"{', '.join(every[:_NAMED])}{more}" or "none"


def choose_module(content: Any, path: str, key: str | None) -> torch.nn.Module | None:
    """The whole module in a checkpoint, without its wrapper; None if it contains weights.

    Raises:
        InvalidModel: several modules are in it, and none is at ``key``.
    """
    if not isinstance(content, torch.nn.Module):
        if not isinstance(content, Mapping) or any(_places(content)):
            return None
        modules = {k: one for k, one in content.items() if isinstance(one, torch.nn.Module)}
        if not modules:
            return None
        content = modules[_key_of(modules, path, key)]
    while isinstance(content, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
        content = content.module
    inner = getattr(content, "_orig_mod", content)
    return inner if isinstance(inner, torch.nn.Module) else None


def _key_of(modules: Mapping[Any, torch.nn.Module], path: str, key: str | None) -> Any:
    """The key of the module to load."""
    if key is not None:
        if key in modules:
            return key
        raise InvalidModel(
            f"{path} has no module at the key {shown(key)}.",
            hint=f"It has modules at: {_listed(modules)}.",
        )
    ranked = sorted(
        ((_AVERAGED.search(str(k)) is not None, _order(str(k))), str(k), k) for k in modules
    )
    if len(ranked) > 1 and ranked[0][0] == ranked[1][0]:
        raise InvalidModel(
            f"{path} contains {len(modules)} modules: {_listed(modules)}.",
            hint=f"Choose one: --arg key={ranked[0][1]}",
        )
    return ranked[0][2]


def _order(key: str) -> int:
    return _USUAL.index(key) if key in _USUAL else len(_USUAL)
