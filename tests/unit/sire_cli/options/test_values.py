"""Numbers and durations in options: errors name the option and the value."""

import pytest

from sire.errors import InvalidConfiguration
from sire.units import parse_duration
from sire_cli.options.arguments import parse_arguments
from sire_cli.options.durations import parse_option, seconds
from sire_cli.options.numbers import whole_number


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "", "9" * 5000])
def test_a_number_that_is_too_small_or_none_is_rejected_with_the_option(text: str) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        whole_number("--lines", text, least=1)
    assert caught.value.message.startswith("--lines must be a whole number of at least 1 (got ")


def test_a_whole_number_is_read() -> None:
    assert (whole_number("-n", "0"), whole_number("-n", "17", least=17)) == (0, 17)


def test_a_duration_error_names_the_option() -> None:
    with pytest.raises(InvalidConfiguration, match="^--timeout: 'soon'"):
        seconds("soon")
    assert (seconds(None), seconds("forever"), seconds("2m")) == (None, None, 120.0)
    assert parse_option("--since", "2s", parse_duration) == 2.0


def test_an_argument_is_json_or_text() -> None:
    assert parse_arguments(["layers=4", "name=four"]) == {"layers": 4, "name": "four"}


@pytest.mark.parametrize("text", ["layers", "=4", "a b=1"])
def test_an_argument_without_a_key_and_a_value_is_rejected(text: str) -> None:
    with pytest.raises(InvalidConfiguration, match="^--arg must be in the form KEY=VALUE"):
        parse_arguments([text])
