"""PNG and JPEG images, resized and laid out as the model's signature states."""

import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from sire.errors import InvalidInput, error_text
from sire.protocol.content import PNG, Payload
from sire.spec import ImageOptions, Signature, TensorSpec
from sire.tensors import ANYTHING, TEXT_DTYPES, dtype_for
from sired.codecs.check import describe

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_FREE = -1
# Bytes per pixel while decoding: four of the image, and up to four of float32.
_PIXEL = 4 + 4 * 4
# Pillow limits the number of pixels; sire limits the bytes, by a setting.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True, slots=True)
class Layout:
    """The layout of an image that a model takes; -1 for an axis of any length."""

    channels: int
    height: int
    width: int
    channels_first: bool
    dtype: str
    shape: tuple[int, ...]


def decode(payload: Payload, signature: Signature, image: ImageOptions) -> Any:
    """Decode an image to an array of the shape of the first input.

    Supported shapes are ``[N, C, H, W]``, ``[N, H, W, C]``, both without N, ``[H, W]``, and
    ``[N, H*W]`` of a square. For a floating point input pixels are scaled to 0..1, then
    ``(x - mean) / std`` per channel; for an integer input they stay 0..255. Without a signature,
    the result is float32[1, 3, H, W].

    Raises:
        InvalidInput: the image is damaged, or the model's first input is not an image.
    """
    layout = _layout(signature)
    picture = _read(payload)
    size = (
        picture.width if layout.width == _FREE else layout.width,
        picture.height if layout.height == _FREE else layout.height,
    )
    if picture.mode.startswith("I"):
        # 16 bits per pixel; Pillow's own conversion would keep the lower 8.
        picture = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    picture = picture.convert(_MODES[layout.channels])
    if picture.size != size:
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    pixels = np.asarray(picture).reshape(size[1], size[0], layout.channels)
    return _arrange(_scale(pixels, layout, image), layout)


def decoded_bytes(payload: Payload) -> int:
    """Peak bytes of decoding, by the image's header: of the pixels and of the resulting array."""
    picture = _open(payload)
    return picture.width * picture.height * _PIXEL


def _read(payload: Payload) -> Image.Image:
    """The decoded image, rotated as its EXIF data states."""
    try:
        picture = _open(payload)
        picture.load()
        upright: Image.Image = ImageOps.exif_transpose(picture)
    except (InvalidInput, MemoryError):
        raise
    except Exception as problem:
        # Pillow's parsers raise exceptions of any type.
        raise _unreadable(payload, f": {error_text(problem)}") from None
    else:
        return upright


def _open(payload: Payload) -> Image.Image:
    """An image of which only the header has been read."""
    try:
        return Image.open(io.BytesIO(payload.frames[0]), formats=[_name(payload)])
    except UnidentifiedImageError:
        raise _unreadable(payload, "") from None
    except Exception as problem:
        raise _unreadable(payload, f": {error_text(problem)}") from None


def _name(payload: Payload) -> str:
    return "PNG" if payload.content_type == PNG else "JPEG"


def _unreadable(payload: Payload, why: str) -> InvalidInput:
    return InvalidInput(f"The input cannot be read as {_name(payload)}{why}.")


def _layout(signature: Signature) -> Layout:
    if not signature.inputs:
        return Layout(3, _FREE, _FREE, True, "float32", (1, 3, _FREE, _FREE))
    spec = signature.required()[0]
    shape = spec.shape
    if spec.dtype == ANYTHING and shape == (_FREE,):
        # Unscaled pixels, which the model prepares itself.
        return Layout(3, _FREE, _FREE, False, "uint8", (_FREE, _FREE, 3))
    if spec.dtype in TEXT_DTYPES or 0 in shape:
        raise _not_an_image(spec)
    match shape:
        case (_, c, h, w) | (c, h, w) if c in _MODES:
            return Layout(c, h, w, True, spec.dtype, shape)
        case (_, h, w, c) | (h, w, c) if c in _MODES:
            return Layout(c, h, w, False, spec.dtype, shape)
        case (_, _, h, w):
            return Layout(3, h, w, True, spec.dtype, shape)
        case (batch, n) if batch in {1, _FREE} and n > 0 and math.isqrt(n) ** 2 == n:
            side = math.isqrt(n)
            return Layout(1, side, side, True, spec.dtype, shape)
        case (_, h, w):
            return Layout(1, h, w, True, spec.dtype, shape)
        case (h, w) if (h == _FREE) == (w == _FREE):
            return Layout(1, h, w, True, spec.dtype, shape)
    raise _not_an_image(spec)


def _not_an_image(spec: TensorSpec) -> InvalidInput:
    return InvalidInput(
        f"The model takes {describe(spec.dtype, spec.shape)}, which is not an image.",
        hint="Send json or npy, or declare the input's shape: --input 'float32[-1,3,224,224]'",
    )


def _scale(pixels: Any, layout: Layout, image: ImageOptions) -> Any:
    dtype = dtype_for(layout.dtype)
    if dtype.kind != "f":
        if dtype in (np.int8, np.bool_):
            raise InvalidInput(
                f"The model takes {layout.dtype}, which cannot represent pixels of 0 to 255.",
                hint="Send json or npy.",
            )
        return pixels.astype(dtype)
    scaled = pixels.astype(np.float32) / np.float32(255)
    for values, apply in ((image.mean, np.subtract), (image.std, np.divide)):
        if values:
            if len(values) not in {1, layout.channels}:
                raise InvalidInput(
                    f"The model's mean or std has {len(values)} values for {layout.channels} "
                    "channels."
                )
            scaled = apply(scaled, np.asarray(values, np.float32))
    return scaled.astype(dtype)


def _arrange(pixels: Any, layout: Layout) -> Any:
    """Reshape [H, W, C] to the model's shape."""
    array = pixels.transpose(2, 0, 1) if layout.channels_first else pixels
    fixed = array.shape
    given = layout.shape
    if len(given) == len(fixed) + 1:
        return np.ascontiguousarray(array[np.newaxis])
    if len(given) == len(fixed) and given[0] not in {fixed[0], _FREE}:
        return np.ascontiguousarray(array[0])[np.newaxis]
    if len(given) == len(fixed):
        return np.ascontiguousarray(array)
    return array.reshape(1, -1) if given[-1] == array.size else np.ascontiguousarray(array[0])
