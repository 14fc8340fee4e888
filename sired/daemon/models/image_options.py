"""Checks the options for images against the inputs of a model, where those are known."""

import re

from sire.errors import InvalidModel
from sire.spec import ANY_SHAPE, ModelSpec, Signature, TensorSpec, format_tensors

_CHANNELS = frozenset({1, 3, 4})
_FEWEST_AXES, _IMAGE_AXES = 2, 3
_HIGHEST = 255
_INTEGER = re.compile(r"(u?)int(\d+)")
# The dtype of inputs that the model's runtime reads itself.
_ANYTHING = "object"


def check_image_options(spec: ModelSpec, signature: Signature) -> None:
    """Check that pixels can be scaled as a model's options state.

    Args:
        spec: the model.
        signature: its inputs, as far as they are known.

    Raises:
        InvalidModel: no input is an image, it has another number of channels, or its dtype cannot
            represent the pixels.
    """
    given = {"--mean": spec.image.mean, "--std": spec.image.std, "--pixel-range": spec.image.range}
    flags = [flag for flag, values in given.items() if values]
    if not flags or not signature.inputs:
        return
    inputs = _images(signature)
    if not inputs:
        raise InvalidModel(
            f"{_listed(flags)} to images, and {spec.name} takes none: "
            f"{format_tensors(signature.required())}.",
            hint=f"Omit {' and '.join(flags)}.",
        )
    if all(one.dtype == _ANYTHING for one in inputs):
        raise InvalidModel(
            f"{_listed(flags)} to arrays of pixels, but {spec.name} prepares images itself.",
            hint=f"Omit {' and '.join(flags)}.",
        )
    if all(map(_is_whole, inputs)):
        _check_whole(spec, inputs)
    channels = {_channels(one) for one in inputs}
    for flag in ("--mean", "--std"):
        if (count := len(given[flag])) > 1 and None not in channels and count not in channels:
            raise InvalidModel(
                f"{flag} has {count} values, but the images of {spec.name} have "
                f"{' or '.join(map(str, sorted(filter(None, channels))))} channels: "
                f"{format_tensors(inputs)}.",
                hint="Give one value, or one for each channel.",
            )


def _images(signature: Signature) -> list[TensorSpec]:
    """The inputs that can be an image; only those with an axis for channels, if there are any."""
    able = [one for one in signature.required() if _can_be_image(one)]
    return [one for one in able if _channels(one) is not None] or able


def _can_be_image(one: TensorSpec) -> bool:
    fits = len(one.shape) >= _FEWEST_AXES or one.shape == ANY_SHAPE or one.dtype == _ANYTHING
    return fits and one.dtype != "string"


def _channels(one: TensorSpec) -> int | None:
    """The number of channels that the axes of an input show; None if they show none."""
    if len(one.shape) < _IMAGE_AXES:
        return None
    return next((axis for axis in (one.shape[-3], one.shape[-1]) if axis in _CHANNELS), None)


def _is_whole(one: TensorSpec) -> bool:
    return one.dtype == "bool" or _INTEGER.fullmatch(one.dtype) is not None


def _check_whole(spec: ModelSpec, inputs: list[TensorSpec]) -> None:
    """Reject what inputs of integers cannot represent."""
    image, takes = spec.image, format_tensors(inputs)
    flags = [flag for flag, given in (("--mean", image.mean), ("--std", image.std)) if given]
    if flags:
        instead = (
            "The model gets pixels of 0 to 255 without them; integers in another range are "
            "declared by --pixel-range, like --pixel-range=-128,127."
        )
        if not spec.stated.inputs:
            instead += " If the model takes floats, declare that: --input 'float32[-1,3,224,224]'"
        raise InvalidModel(
            f"{_listed(flags)} to floats, but {spec.name} takes integers: {takes}.", hint=instead
        )
    limits = [_limits(one.dtype) for one in inputs]
    least, most = min(low for low, _ in limits), max(high for _, high in limits)
    low, high = image.range
    if low < least or high > most:
        raise InvalidModel(
            f"--pixel-range is {low:g},{high:g}, but {spec.name} takes integers of {least} to "
            f"{most}: {takes}.",
            hint=f"Use a range within that, like --pixel-range={max(least, -128)},"
            f"{min(most, _HIGHEST)}.",
        )


def _limits(dtype: str) -> tuple[int, int]:
    match = _INTEGER.fullmatch(dtype)
    if match is None:
        return 0, 1
    bits = int(match[2]) - (not match[1])
    return 0 if match[1] else -(1 << bits), (1 << bits) - 1


def _listed(flags: list[str]) -> str:
    return f"{flags[0]} applies" if len(flags) == 1 else f"{' and '.join(flags)} apply"
