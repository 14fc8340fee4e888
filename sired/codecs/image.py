"""Images: decoded as the model's signature states, and encoded as PNG."""

import io
from typing import Any

import numpy as np
from PIL import (
    Image,
    ImageOps,
    TiffImagePlugin,  # noqa: F401 (Pillow finds a format once its module is imported)
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from sire.errors import InvalidInput, error_text
from sire.protocol.content import Payload
from sire.spec import ImageOptions, Signature
from sire.tensors import ANYTHING, as_array, dtype_for
from sired.codecs.layouts import MODES, Layout, pictured_input
from sired.codecs.media import Media
from sired.codecs.placing import FREE, place
from sired.codecs.segments import only_image, segment_map, segments_in

Array = np.ndarray[Any, Any]
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF")
# Formats whose files can have several images. A JPEG file's others are previews of the first.
_SEVERAL = frozenset({"PNG", "WEBP", "TIFF", "GIF"})
# The highest value of 8 and of 16 bits.
_HIGHEST, _HIGHEST_16 = 255, 65535
# Bytes per pixel while decoding: four of the image, and up to four of float32.
_PIXEL = 4 + 4 * 4
# Pillow limits the number of pixels; sire limits the bytes, by a setting.
Image.MAX_IMAGE_PIXELS = None


def decode(payload: Payload, signature: Signature, media: Media) -> Any:
    """Decode an image to an array of the shape of the input that it is for.

    Of a model with several inputs, that is the one with the axes of an image; the others need
    constants or defaults.

    Supported shapes are ``[N, C, H, W]``, ``[N, H, W, C]``, both without N, ``[H, W]``, and
    ``[N, H*W]`` of a square. For a floating point input pixels are scaled to 0..1 or the declared
    range, then ``(x - mean) / std`` per channel; for an integer input they stay 0..255. Without a
    signature, the result is float32[1, 3, H, W].

    Raises:
        InvalidInput: the image is damaged, or the model takes none.
    """
    spec, layout = pictured_input(signature)
    picture = _read(payload)
    if picture.mode == "F":
        raise InvalidInput(
            "The image has pixels of floating point numbers, whose range is not known.",
            hint="Send them as npy.",
        )
    if picture.mode.startswith("I"):
        picture = _of_16_bits(picture, layout)
    if picture.mode != "F":
        picture = picture.convert(MODES[layout.channels])
    picture = place(picture, layout.width, layout.height, media.image)
    pixels = np.asarray(picture).reshape(picture.height, picture.width, -1)
    if pixels.shape[2] != layout.channels:  # gray with 16 bits, for a model of colours
        pixels = np.repeat(pixels, layout.channels, 2)
        pixels[..., 3:] = _HIGHEST
    if media.image.order == "bgr" and layout.channels >= 3:
        pixels = pixels[..., [2, 1, 0, 3][: layout.channels]]
    array = _arrange(_scale(pixels, layout, media.image), layout)
    return array if spec is None or len(signature.inputs) == 1 else {spec.name: array}


def decoded_bytes(payload: Payload) -> int:
    """Peak bytes of decoding, by the image's header: of the pixels and of the resulting array."""
    picture = _open(payload)
    return picture.width * picture.height * _PIXEL


def _read(payload: Payload) -> Image.Image:
    """The decoded image, rotated as its EXIF data states."""
    try:
        picture = _open(payload)
        _check_single(picture)
        picture.load()
        upright: Image.Image = ImageOps.exif_transpose(picture)
    except (InvalidInput, MemoryError):
        raise
    except Exception as problem:
        # Pillow's parsers raise exceptions of any type.
        raise _unreadable(payload, f": {error_text(problem)}") from None
    else:
        return upright


def _check_single(picture: Image.Image) -> None:
    count = getattr(picture, "n_frames", 1) if picture.format in _SEVERAL else 1
    if count > 1:
        raise InvalidInput(
            f"The {picture.format} input has {count} images; the model takes one.",
            hint="Save the one that is meant in a file of its own.",
        )


def _open(payload: Payload) -> Image.Image:
    """An image of which only the header has been read; its bytes tell the format."""
    try:
        return Image.open(io.BytesIO(payload.frames[0]), formats=_FORMATS)
    except UnidentifiedImageError:
        raise _unreadable(payload, "") from None
    except Exception as problem:
        raise _unreadable(payload, f": {error_text(problem)}") from None


def _unreadable(payload: Payload, why: str) -> InvalidInput:
    name = payload.content_type.rpartition("/")[2].upper()
    return InvalidInput(
        f"The input cannot be read as {name}{why}.",
        hint="PNG, JPEG, WebP, BMP, TIFF and GIF are read.",
    )


def _of_16_bits(picture: Image.Image, layout: Layout) -> Image.Image:
    """A gray image of 16 bits in the range 0..255: with its fractions for a model of floats."""
    pixels = np.asarray(picture)
    if pixels.min() < 0 or pixels.max() > _HIGHEST_16:
        raise InvalidInput(
            f"The image has pixels from {pixels.min()} to {pixels.max()}; up to 16 bits are read.",
            hint="Send them as npy.",
        )
    if layout.dtype != ANYTHING and dtype_for(layout.dtype).kind == "f":
        return Image.fromarray(pixels.astype(np.float32) * np.float32(_HIGHEST / _HIGHEST_16))
    # Pillow's own conversion would keep the lower 8 bits.
    return Image.fromarray((pixels >> 8).astype(np.uint8))


def _scale(pixels: Array, layout: Layout, image: ImageOptions) -> Array:
    """Pixels of 0..255 in the range and dtype that the model takes."""
    dtype = dtype_for(layout.dtype)
    if dtype.kind != "f":
        return _whole(pixels, layout, image)
    scaled = pixels.astype(np.float32)
    if not image.range:
        scaled /= np.float32(_HIGHEST)
    elif image.range != (0, _HIGHEST):
        low, high = image.range
        scaled = scaled * np.float32((high - low) / _HIGHEST) + np.float32(low)
    for values, apply in ((image.mean, np.subtract), (image.std, np.divide)):
        if values:
            if len(values) not in {1, layout.channels}:
                raise InvalidInput(
                    f"The model's mean or std has {len(values)} values for {layout.channels} "
                    "channels."
                )
            scaled = apply(scaled, np.asarray(values, np.float32))
    return scaled.astype(dtype)


def _whole(pixels: Array, layout: Layout, image: ImageOptions) -> Array:
    if image.mean or image.std:
        raise InvalidInput(
            f"The model takes {layout.dtype}, but was registered with a mean or std, which apply "
            "to floats.",
            hint="Register it without them, or declare its input as floats.",
        )
    dtype = dtype_for(layout.dtype)
    low, high = image.range or (0, _HIGHEST)
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if low < limits[0] or high > limits[1]:
        raise InvalidInput(
            f"The model takes {layout.dtype}, which cannot represent pixels of {low:g} to "
            f"{high:g}.",
            hint="Send json or npy, or register the model with a range: --pixel-range=-128,127",
        )
    if not image.range:
        return pixels.astype(dtype)
    return np.rint(pixels * ((high - low) / _HIGHEST) + low).astype(dtype)


def _arrange(pixels: Array, layout: Layout) -> Array:
    """Reshape [H, W, C] to the model's shape."""
    array = pixels.transpose(2, 0, 1) if layout.channels_first else pixels
    fixed = array.shape
    given = layout.shape
    if len(given) == len(fixed) + 1:
        return np.ascontiguousarray(array[np.newaxis])
    if len(given) == len(fixed) and given[0] not in {fixed[0], FREE}:
        return np.ascontiguousarray(array[0])[np.newaxis]
    if len(given) == len(fixed):
        return np.ascontiguousarray(array)
    return array.reshape(1, -1) if given[-1] == array.size else np.ascontiguousarray(array[0])


def encode(value: Any, accept: str) -> Payload:
    """Encode one image as PNG.

    Args:
        value: [H, W], [H, W, C] or [C, H, W] with 1, 3 or 4 channels, also behind a batch of one.
            Integers and booleans are pixels of 8 bits, uint16 of 16 bits; floats are 0..1. Of an
            answer with several parts, the only one that is pixels. The masks of several segments
            become one image, as ``segments.segment_map`` describes.
        accept: PNG.

    Raises:
        InvalidInput: the output is not an image, or has pixels out of that range.
    """
    value = only_image(value)
    array = as_array(value)
    if array is None and isinstance(value, list):
        try:
            array = np.asarray(value)
        except ValueError:
            array = None
    buffer = io.BytesIO()
    if array is not None and array.dtype.kind == "O" and (parts := segments_in(array)):
        picture, text = segment_map(parts)
        picture.save(buffer, "PNG", pnginfo=text)
        return Payload(accept, (buffer.getvalue(),))
    if array is None or array.dtype.kind not in "biuf" or not array.size:
        raise _no_picture(f"a {type(value).__name__}")
    Image.fromarray(_eight_bits(_channels_last(array))).save(buffer, "PNG")
    return Payload(accept, (buffer.getvalue(),))


def _channels_last(array: Array) -> Array:
    """[H, W] or [H, W, C]."""
    while array.ndim > 2 and len(array) == 1:
        array = array[0]
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        return array
    first, last = (array.ndim == 3 and array.shape[axis] in MODES for axis in (0, 2))
    if first == last:
        raise _no_picture(f"an array of shape {list(array.shape)}")
    return np.ascontiguousarray(array.transpose(1, 2, 0) if first else array)


def _eight_bits(pixels: Array) -> Array:
    """Pixels as uint8, or uint16 if they are gray and of that dtype."""
    if pixels.dtype == np.uint16 and pixels.ndim == 2:
        return pixels
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * np.uint8(_HIGHEST)
    low, high, highest = pixels.min(), pixels.max(), 1 if pixels.dtype.kind == "f" else _HIGHEST
    if not (low >= 0 and high <= highest):
        raise InvalidInput(
            f"The output has pixels from {low:g} to {high:g}; PNG takes floats of 0 to 1, and "
            "integers of 0 to 255.",
            hint="Have the model return pixels in that range; or request npy: --to npy",
        )
    if pixels.dtype.kind == "f":
        pixels = np.rint(pixels.astype(np.float64) * _HIGHEST)
    return pixels.astype(np.uint8)


def _no_picture(what: str) -> InvalidInput:
    return InvalidInput(
        f"The output is {what}, not an image.", hint="Request another type: --to npy"
    )
