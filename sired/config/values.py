"""What a setting's value may look like, and how it is written back."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sire.errors import InvalidConfiguration, shown
from sire.nearest import nearest
from sire.units import LARGEST_BYTES, exact_bytes, exact_duration, parse_bytes, parse_duration

_TRUE = {"true", "yes", "on", "1"}
_MOST_DIGITS = 100
# No machine has so many.
_MOST_CORES = 1 << 16
_FALSE = {"false", "no", "off", "0"}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of value.

    ``read`` takes text (environment, flags) or what TOML holds, and raises InvalidConfiguration;
    ``write`` gives text that ``read`` takes.
    """

    read: Callable[[Any], Any]
    write: Callable[[Any], str] = str


def whole(least: int, most: int | None = None) -> Kind:
    """Whole numbers from ``least`` on, to ``most`` where there is one."""
    bounds = f"of at least {least}" if most is None else f"from {least} to {most}"

    def read(value: Any) -> int:
        count = _count(value)
        if count is None or count < least or (most is not None and count > most):
            raise InvalidConfiguration(f"{shown(value)} is not a whole number {bounds}.")
        return count

    return Kind(read)


def _count(value: Any) -> int | None:
    """The whole number that a text is, as large as 64 bits hold; None if it is none."""
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


def _read_names(value: Any) -> tuple[str, ...]:
    names = value if isinstance(value, list) else str(value).split(",")
    stripped = [name.strip() if isinstance(name, str) else "" for name in names]
    if not all(stripped) and value != "":
        raise InvalidConfiguration(
            f"{shown(value)} is no list of names.", hint='Write it like ["a", "b"], or a,b in text.'
        )
    return tuple(dict.fromkeys(filter(None, stripped)))


def one_of(*names: str) -> Kind:
    """One of these words."""

    def read(value: Any) -> str:
        if value not in names:
            near = nearest(shown(value).strip("'"), names)
            raise InvalidConfiguration(
                f"{shown(value)} is none of {', '.join(names)}.",
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
                f"{shown(part)} is not a core.", hint="Number them like [0, 1], or 0,2-3 in text."
            )
        cores.update(range(first, last + 1))
    return tuple(sorted(cores))


def _write_cores(cores: tuple[int, ...]) -> str:
    return ",".join(map(str, cores))


SIZE = Kind(parse_bytes, exact_bytes)
DURATION = Kind(parse_duration, exact_duration)
FACTOR = Kind(_read_factor)
SWITCH = Kind(_read_switch, lambda value: str(value).lower())
WORD = Kind(_read_word)
NAMES = Kind(_read_names, ",".join)
CORES = Kind(_read_cores, _write_cores)
