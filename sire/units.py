"""Sizes and durations: parsing and formatting."""

import math
import re

from sire.errors import InvalidConfiguration, shown

_BYTES: dict[str, int] = {
    "": 1,
    "B": 1,
    **{f"{unit}B": 1000**power for power, unit in enumerate("KMGT", start=1)},
    **{f"{unit}iB": 1024**power for power, unit in enumerate("KMGT", start=1)},
    # A bare letter is a power of 1024, as in docker and systemd.
    **{unit: 1024**power for power, unit in enumerate("KMGT", start=1)},
}
_BYTES_BY_UPPERCASE = {unit.upper(): factor for unit, factor in _BYTES.items()}
_SECONDS = {"ms": 0.001, "": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER_AND_UNIT = re.compile(r"\s*(\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*([A-Za-z]*)\s*")

FOREVER = math.inf
# The largest signed 64-bit integer, in which the system, SQLite and messages count bytes.
LARGEST_BYTES = (1 << 63) - 1
_LONGEST_SECONDS = 1e18
_MOST_DIGITS = 100


def parse_bytes(text: str | int) -> int:
    """Read a size such as ``2GiB``, ``600 MB``, ``1.5G`` or ``1048576``; returns bytes.

    Raises:
        InvalidConfiguration: the text is not a size, or the size exceeds 63 bits.
    """
    if type(text) is int and 0 <= text <= LARGEST_BYTES:
        return text
    match = _NUMBER_AND_UNIT.fullmatch(str(text))
    factor = _BYTES_BY_UPPERCASE.get(match[2].upper()) if match else None
    count = _exact(match[1], factor) if match and factor else LARGEST_BYTES + 1
    if count > LARGEST_BYTES:
        raise InvalidConfiguration(
            f"{shown(text)} is not a size.", hint="Write it like 600MB, 2GiB or 1048576."
        )
    return count


def _exact(number: str, factor: int) -> int:
    """The product of a number and a unit; a number with too many digits is too large."""
    if number.isdecimal() and len(number) < _MOST_DIGITS:
        return int(number) * factor
    count = float(number) * factor
    return round(count) if count < LARGEST_BYTES else LARGEST_BYTES + 1


def format_bytes(count: float) -> str:
    """Format a size for people: ``0 B``, ``1.5 MiB``, ``12 GiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(count) < 1000 or unit == "TiB":
            break
        count /= 1024
    digits = 0 if unit == "B" or abs(count) >= 100 else 1
    return f"{count:.{digits}f}".removesuffix(".0") + f" {unit}"


def exact_bytes(count: int) -> str:
    """Format a size in the largest unit that keeps it exact: ``2GiB``, ``600MB``, ``1048577``."""
    exact = [unit for unit, factor in _BYTES.items() if len(unit) > 1 and count % factor == 0]
    unit = max(exact, key=_BYTES.__getitem__, default="") if count else ""
    return f"{count // _BYTES[unit]}{unit}"


def parse_duration(text: str | float) -> float:
    """Read a duration such as ``30s``, ``5m``, ``250ms``, ``12`` or ``forever``.

    Returns:
        Seconds; ``math.inf`` for forever.

    Raises:
        InvalidConfiguration: the text is not a duration, or is negative.
    """
    if isinstance(text, int | float) and not isinstance(text, bool):
        if text > _LONGEST_SECONDS:
            return FOREVER
        if text >= 0:
            return float(text)
    text = str(text)
    if text.strip().lower() == "forever":
        return FOREVER
    match = _NUMBER_AND_UNIT.fullmatch(text)
    factor = _SECONDS.get(match[2].lower()) if match else None
    if match is None or factor is None:
        raise InvalidConfiguration(
            f"{shown(text)} is not a duration.", hint="Write it like 250ms, 30s, 5m, 2h or forever."
        )
    return float(match[1]) * factor


def format_duration(seconds: float) -> str:
    """Format a duration for people, in one unit: ``0.4 ms``, ``2.5 s``, ``5 m``."""
    if seconds == FOREVER:
        return "forever"
    if seconds < 1:
        return f"{seconds * 1000:.{0 if seconds >= 0.1 else 2}f} ms"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or seconds == size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds:.1f}".removesuffix(".0") + " s"


def exact_duration(seconds: float) -> str:
    """Format a duration so that ``parse_duration`` returns exactly it: ``5m``, ``90s``."""
    if seconds == FOREVER:
        return "forever"
    for unit in ("d", "h", "m", "s", "ms"):
        text = f"{seconds / _SECONDS[unit]:.0f}{unit}"
        if parse_duration(text) == seconds and (seconds or unit == "s"):
            return text
    return f"{seconds!r}s"
