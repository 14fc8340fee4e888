"""A request's data as the arguments of a model's function."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from sire.errors import InvalidInput
from sire.tensors import samples_at
from sired.runtimes.support.inputs import parameters_of

TONE = samples_at(48000, np.zeros(3, np.float32))


@pytest.mark.parametrize(
    ("function", "name", "rate"),
    [
        (lambda samples, sampling_rate: None, "samples", "sampling_rate"),
        (lambda x, sr: None, "x", "sr"),
        (lambda x, sr=16000: None, "x", "sr"),
        (lambda sample_rate, audio, gain=1: None, "audio", "sample_rate"),
        (lambda x=None, fs=8000: None, "x", "fs"),
    ],
)
def test_a_recording_comes_with_its_rate_where_a_function_takes_both(
    function: Callable[..., Any], name: str, rate: str
) -> None:
    for given in (TONE, {name: TONE}):
        args, kwargs = parameters_of(function).arrange(given)
        assert args == ()
        assert kwargs[name] is TONE
        assert kwargs[rate] == 48000
        assert kwargs.keys() == {name, rate}


def test_a_rate_that_a_request_gives_counts() -> None:
    given = {"x": TONE, "sr": 8000}
    assert parameters_of(lambda x, sr: None).arrange(given) == ((), given)


def test_a_recording_alone_is_the_argument_of_a_function_without_a_rate() -> None:
    args, kwargs = parameters_of(lambda x, speed=1: None).arrange(TONE)
    assert args[0] is TONE
    assert not kwargs


def test_arguments_that_are_missing_are_named_with_how_to_give_them() -> None:
    with pytest.raises(InvalidInput, match="takes x, gain, sr; given were 1 in order") as caught:
        parameters_of(lambda x, gain, sr: None).arrange(TONE)
    assert "-i NAME=FILE" in caught.value.hint
