"""Numbers in the format of the live view; unknown values are a dash."""

from rich.text import Text

from sire.units import format_bytes

NOTHING = Text("-", "dim")
_SECONDS_A_DAY = 86400


def size(count: int) -> Text:
    """A size in bytes; zero is dimmed."""
    return Text(format_bytes(count), "" if count else "dim")


def latency(seconds: float | None) -> Text:
    """A short time with three digits, such as ``4.21ms`` or ``1.50s``."""
    if seconds is None:
        return NOTHING
    return Text(_digits(seconds) + "s" if seconds >= 1 else _digits(seconds * 1000) + "ms")


def rate(per_second: float) -> Text:
    """A rate per second with three digits."""
    if per_second == 0:
        return NOTHING
    return Text(_digits(per_second))


def count(number: int, style: str = "") -> Text:
    """A count; zero is dimmed."""
    return Text(f"{number:,}", style if number else "dim")


def measured(value: float | None, unit: str) -> Text:
    """A sensor reading with its unit."""
    return NOTHING if value is None else Text(f"{value:.0f}{unit}")


def clock(seconds: float | None) -> Text:
    """Elapsed time, such as ``0:42``, ``4:12`` or ``2:03:11``; in days from two days on."""
    if seconds is None:
        return NOTHING
    if seconds >= 2 * _SECONDS_A_DAY:
        return Text(f"{seconds // _SECONDS_A_DAY:.0f} days")
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    if hours:
        return Text(f"{hours}:{minute:02}:{second:02}")
    return Text(f"{minute}:{second:02}")


def _digits(value: float) -> str:
    """A number with three digits and no exponent; more digits if the integer part needs them."""
    before_point = len(f"{value:.0f}")
    return f"{value:,.{max(0, 3 - before_point)}f}"
