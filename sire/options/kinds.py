"""Kinds of values that only a model's options have."""

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import msgspec

from sire.errors import InvalidConfiguration, InvalidModel, shown
from sire.spec import (
    MOST_HERTZ,
    PRIORITIES,
    KeepAlive,
    Signature,
    TensorSpec,
    format_tensors,
    instance_bounds,
    parse_tensor,
)
from sire.units import FOREVER, exact_duration, parse_duration
from sire.values import NUMBERS, PATH, SIZE, Kind, one_of, whole

# More rows in a batch than any machine can hold.
_LARGEST_COUNT = 1 << 31
# Each takes a thread in the worker, with a stack of its own.
MOST_CONCURRENT = 256


def _read_class(value: Any) -> str:
    """A class as ``module:Class`` or ``/absolute/file.py:Class``."""
    if value == "pickle:":
        return "pickle:"
    module, colon, name = str(value).rpartition(":")
    if not (colon and module and name):
        raise InvalidModel(
            f"{shown(value)} is not the name of a class.",
            hint="Write it like package.module:Class or file.py:Class.",
        )
    return f"{PATH.read(module)}:{name}" if module.endswith(".py") else f"{module}:{name}"


def _read_directories(value: Any) -> tuple[str, ...]:
    if isinstance(value, str | PathLike):
        value = [value]
    if not isinstance(value, Sequence):
        raise InvalidModel(f"{shown(value)} is not a list of directories.")
    return tuple(str(PATH.read(one)) for one in value)


def _read_arguments(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise InvalidModel(f"{shown(value)} is not a table of names and values.")
    for key, item in value.items():
        try:
            msgspec.msgpack.encode(item)
        except (TypeError, OverflowError, ValueError) as problem:
            raise InvalidModel(
                f"The argument {key!r} cannot be encoded: {problem}.",
                hint="Arguments are numbers, strings, booleans, lists and dicts of them.",
            ) from None
    return dict(value)


def _write_arguments(args: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in args.items())


def _read_tensors(value: Any) -> tuple[TensorSpec, ...]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise InvalidModel(
            f"{shown(value)} is not a list of inputs.", hint='Write it like ["float32[-1,4]"].'
        )
    return tuple(one if isinstance(one, TensorSpec) else parse_tensor(str(one)) for one in value)


def _read_signature(value: Any) -> Signature:
    if not isinstance(value, Signature):
        raise InvalidModel(f"{shown(value)} is not a Signature.")
    return value


def _read_instances(value: Any) -> str:
    text = str(value).strip()
    instance_bounds(text)
    return text


def _read_input_file(value: Any) -> str | None:
    if value is True:
        raise InvalidModel(
            "it is the path of an input to run once after loading, not a switch.",
            hint="Give a file, such as input.json. Models whose inputs are known are warmed up on "
            "zeros; leave it out for them.",
        )
    return None if value is False else str(PATH.read(value))


def _read_megabytes(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidConfiguration(f"{shown(value)} is not a number of megabytes.")
    return int(SIZE.read(int(value * 1_000_000)))


def _read_range(value: Any) -> tuple[float, ...]:
    bounds: tuple[float, ...] = NUMBERS.read(value)
    if len(bounds) != 2 or not bounds[0] < bounds[1]:
        raise InvalidConfiguration(
            f"{shown(value)} is not a range.", hint="Write the lowest and the highest: -1,1"
        )
    return bounds


def parse_keep_alive(given: str | float | None) -> KeepAlive:
    """Read how long a model stays loaded: a duration such as ``5m``, "forever", or seconds.

    Raises:
        InvalidConfiguration: it is not a duration.
    """
    if given is None:
        return None
    seconds = parse_duration(given)
    return "forever" if seconds == FOREVER else seconds


def _write_keep_alive(keep_alive: float | str) -> str:
    return keep_alive if isinstance(keep_alive, str) else exact_duration(keep_alive)


CLASS = Kind(_read_class)
DIRECTORIES = Kind(_read_directories, ", ".join, "directories")
ARGUMENTS = Kind(_read_arguments, _write_arguments, "names and values")
TENSORS = Kind(_read_tensors, format_tensors, "tensors")
SIGNATURE = Kind(_read_signature)
KEEP_ALIVE = Kind(parse_keep_alive, _write_keep_alive, "duration")
PRIORITY = one_of(*PRIORITIES)
INSTANCES = Kind(_read_instances)
INPUT_FILE = Kind(_read_input_file)
MEGABYTES = Kind(_read_megabytes)
FIT = one_of("stretch", "pad", "crop")
CHANNEL_ORDER = one_of("rgb", "bgr")
PIXEL_RANGE = Kind(_read_range, NUMBERS.write, "two numbers")
PIXEL = whole(0, 255)
MULTIPLE = whole(1, 1 << 16)
HERTZ = whole(1, MOST_HERTZ)
COUNT = whole(1, _LARGEST_COUNT)
CONCURRENCY = whole(1, MOST_CONCURRENT)
