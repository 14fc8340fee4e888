"""Kinds of values that people write for settings and model options, and how each is written."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sire.errors import InvalidConfiguration, shown
from sire.nearest import nearest
from sire.units import (
    FOREVER,
    LARGEST_BYTES,
    exact_bytes,
    exact_duration,
    parse_bytes,
    parse_duration,
)

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_MOST_DIGITS = 100
# How long a request may be made to wait for others: longer, and clients give up.
LONGEST_PAUSE_SECONDS = 60
# More cores than any machine has.
_MOST_CORES = 1 << 16


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    Attributes:
        read: takes text (environment, command line) or a value from TOML, YAML or Python, and
            returns the value; raises InvalidConfiguration.
        write: returns text that ``read`` accepts.
        name: the kind as the manual names it; "" where the description says it.
    """

    read: Callable[[Any], Any]
    write: Callable[[Any], str] = str
    name: str = ""


def whole(least: int, most: int | None = None) -> Kind:
    """Whole numbers from ``least``, up to ``most`` if it is given."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(value: Any) -> int:
        count = _count(value)
        if count is None or count < least or (most is not None and count > most):
            raise InvalidConfiguration(f"{shown(value)} is not a whole number {bounds}.")
        return count

    return Kind(read)


def _count(value: Any) -> int | None:
    """The whole number that a text states; None if it is not one or exceeds 64 bits."""
    text = str(value)
    count = int(text) if text.isdecimal() and len(text) < _MOST_DIGITS else None
    return count if count is not None and count <= LARGEST_BYTES else None


def _read_factor(value: Any) -> float:
    try:
        factor = float(str(value))
    except ValueError:
        factor = math.nan
    if not 0 < factor < math.inf:
        raise InvalidConfiguration(
            f"{shown(value)} is not a number above zero.", hint="Such as 1.3."
        )
    return factor


def _read_switch(value: Any) -> bool:
    text = str(value).lower()
    if text not in _TRUE | _FALSE:
        raise InvalidConfiguration(f"{shown(value)} is neither true nor false.")
    return text in _TRUE


def _read_word(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidConfiguration(f"{shown(value)} is not a name.")
    return value


def _read_text(value: Any) -> str:
    """Text; YAML reads a name such as 0 or 1.5 as a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InvalidConfiguration(f"{shown(value)} is not text.")
    return str(value)


def _read_name(value: Any) -> str:
    """Text that is not empty."""
    if not (text := _read_text(value)):
        raise InvalidConfiguration("the name is empty.")
    return text


def _read_path(value: Any) -> str:
    """An absolute path. Symbolic links are kept, so that a reload follows a link that changed."""
    if not isinstance(value, str | os.PathLike):
        raise InvalidConfiguration(f"{shown(value)} is not the path of a file.")
    return os.path.abspath(value)  # noqa: PTH100


def _read_pause(value: Any) -> float:
    seconds = parse_duration(value)
    if seconds == FOREVER:
        raise InvalidConfiguration(
            f"{shown(value)} is not a bounded duration.", hint="Write it like 250ms or 5s."
        )
    if seconds > LONGEST_PAUSE_SECONDS:
        raise InvalidConfiguration(
            f"{shown(value)} is longer than {LONGEST_PAUSE_SECONDS} s, the limit.",
            hint="A request waits that long before it runs.",
        )
    return seconds


def _read_names(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else str(value).split(",")
    stripped = [name.strip() if isinstance(name, str) else "" for name in names]
    if not all(stripped) and value != "":
        raise InvalidConfiguration(
            f"{shown(value)} is not a list of names.",
            hint='Write it like ["a", "b"], or a,b as text.',
        )
    return tuple(dict.fromkeys(filter(None, stripped)))


def _read_numbers(value: Any) -> tuple[float, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        numbers = (math.nan,)
    if not all(map(math.isfinite, numbers)):
        raise InvalidConfiguration(
            f"{shown(value)} is not a list of numbers.", hint="Write them like 0.485,0.456,0.406."
        )
    return numbers


def _write_numbers(numbers: Sequence[float]) -> str:
    return ",".join(f"{number:g}" for number in numbers)


def one_of(*names: str) -> Kind:
    """One of these words."""

    def read(value: Any) -> str:
        if value not in names:
            near = nearest(shown(value).strip("'"), names)
            raise InvalidConfiguration(
                f"{shown(value)} is not one of {', '.join(names)}.",
                hint=f"Did you mean {near}?" if near else "",
            )
        return str(value)

    return Kind(read)


def _read_cores(value: Any) -> tuple[int, ...]:
    parts = value if isinstance(value, list) else str(value).split(",")
    cores: set[int] = set()
    for part in parts:
        start, _, end = str(part).strip().partition("-")
        first, last = _count(start), _count(end or start)
        if first is None or last is None or last >= _MOST_CORES:
            raise InvalidConfiguration(
                f"{shown(part)} is not a core.", hint="Write numbers: [0, 1], or 0,2-3 as text."
            )
        cores.update(range(first, last + 1))
    return tuple(sorted(cores))


def _write_cores(cores: tuple[int, ...]) -> str:
    return ",".join(map(str, cores))


SIZE = Kind(parse_bytes, exact_bytes, "size")
DURATION = Kind(parse_duration, exact_duration, "duration")
PAUSE = Kind(_read_pause, exact_duration, "duration")
FACTOR = Kind(_read_factor)
SWITCH = Kind(_read_switch, lambda value: str(value).lower(), "true or false")
WORD = Kind(_read_word)
TEXT = Kind(_read_text)
NAME = Kind(_read_name)
PATH = Kind(_read_path)
NAMES = Kind(_read_names, ",".join, "names")
NUMBERS = Kind(_read_numbers, _write_numbers, "numbers")
CORES = Kind(_read_cores, _write_cores)
