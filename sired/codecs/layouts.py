"""Which input of a model is an image, and how its axes are laid out."""

import math
from dataclasses import dataclass

from sire.errors import InvalidInput
from sire.spec import Signature, TensorSpec
from sire.tensors import ANYTHING, TEXT_DTYPES
from sired.codecs.check import describe
from sired.codecs.placing import FREE

# Pillow's modes by the number of channels.
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_IMAGE_AXES = 3


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of an image that a model takes; -1 for an axis of any length."""

    channels: int
    height: int
    width: int
    channels_first: bool
    dtype: str
    shape: tuple[int, ...]


# Of a model without a signature.
_UNKNOWN = Layout(3, FREE, FREE, True, "float32", (1, 3, FREE, FREE))


def pictured_input(signature: Signature) -> tuple[TensorSpec | None, Layout]:
    """The input that an image without a name is for, and its layout.

    It is the only input that requests have to give; of several, the only one with axes for height,
    width and 1, 3 or 4 channels, or else the only one that can be an image at all. If requests have
    to give none, it is chosen from all.

    Returns:
        The input, None for a model without a signature.

    Raises:
        InvalidInput: no input can be an image, or more than one.
    """
    if not signature.inputs:
        return None, _UNKNOWN
    required = signature.required()
    found = [(spec, layout) for spec in required if (layout := _layout(spec)) is not None]
    clear = [one for one in found if _has_channels(one[0])] or found
    if len(clear) == 1:
        return clear[0]
    if clear:
        raise InvalidInput(
            f"More than one input of the model can be an image: "
            f"{', '.join(spec.name for spec, _ in clear)}.",
            hint=f"Give each by its name: -i {clear[0][0].name}=FILE",
        )
    takes = ", ".join(describe(spec.dtype, spec.shape) for spec in required)
    raise InvalidInput(
        f"The model takes {takes}, which is not an image.",
        hint="Send json or npy, or declare the input's shape: --input 'float32[-1,3,224,224]'",
    )


def _has_channels(spec: TensorSpec) -> bool:
    shape = spec.shape
    return len(shape) >= _IMAGE_AXES and any(axis in MODES for axis in (shape[-3], shape[-1]))


def _layout(spec: TensorSpec) -> Layout | None:
    """The layout of the image that an input takes; None if it takes none."""
    shape = spec.shape
    if spec.dtype == ANYTHING:
        # Unscaled pixels, which the model prepares itself.
        return Layout(3, FREE, FREE, False, "uint8", (FREE, FREE, 3))
    if spec.dtype in TEXT_DTYPES or 0 in shape:
        return None
    match shape:
        case (_, c, h, w) | (c, h, w) if c in MODES:
            return Layout(c, h, w, True, spec.dtype, shape)
        case (_, h, w, c) | (h, w, c) if c in MODES:
            return Layout(c, h, w, False, spec.dtype, shape)
        case (_, _, h, w):
            return Layout(3, h, w, True, spec.dtype, shape)
        case (batch, n) if batch in {1, FREE} and n > 0 and math.isqrt(n) ** 2 == n:
            side = math.isqrt(n)
            return Layout(1, side, side, True, spec.dtype, shape)
        case (_, h, w):
            return Layout(1, h, w, True, spec.dtype, shape)
        case (h, w) if (h == FREE) == (w == FREE):
            return Layout(1, h, w, True, spec.dtype, shape)
    return None
