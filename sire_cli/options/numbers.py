"""Whole numbers in options; Typer would import pydantic to read them."""

from sire.errors import InvalidConfiguration

# More digits than any count needs; longer texts are slow to convert.
_MOST_DIGITS = 18


def whole_number(option: str, text: str, least: int = 0) -> int:
    """Parse the value of an option.

    Raises:
        InvalidConfiguration: the text is not a whole number of at least ``least``.
    """
    number = int(text) if text.isdecimal() and len(text) <= _MOST_DIGITS else None
    if number is None or number < least:
        raise InvalidConfiguration(
            f"{option} must be a whole number of at least {least} (got {text!r})."
        )
    return number
