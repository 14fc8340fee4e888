"""The size of an image: scaled to the height and width that a model takes."""

from typing import NamedTuple

from PIL import Image

from sire.spec import ImageOptions

# A height or width of any length.
FREE = -1


class _Size(NamedTuple):
    width: int
    height: int


def place(picture: Image.Image, width: int, height: int, image: ImageOptions) -> Image.Image:
    """Scale an image to a width and a height, either of which can be free.

    1. A free side has the length that keeps the image's shape; if both are free, that of the image.
    2. A free side is rounded to the model's multiple: to the nearest one, up for padding, or down
       for cropping.
    3. Where the shape is still another one, the image is stretched; or scaled until it fits inside,
       and padded; or scaled until it covers, and cropped. It stays in the middle.

    Args:
        picture: the image.
        width: in pixels, or ``FREE``.
        height: in pixels, or ``FREE``.
        image: how it is fitted.
    """
    natural = _natural(_Size(*picture.size), width, height)
    wanted = _Size(
        _rounded(natural.width, image) if width == FREE else width,
        _rounded(natural.height, image) if height == FREE else height,
    )
    if image.fit == "stretch":
        return _resized(picture, wanted)
    fixed = FREE not in (width, height)
    scaled = _scaled(_Size(*picture.size) if fixed else natural, wanted, image.fit, always=fixed)
    picture = _resized(picture, scaled)
    if scaled == wanted:
        return picture
    left = int((wanted.width - scaled.width) / 2)
    top = int((wanted.height - scaled.height) / 2)
    canvas = Image.new(picture.mode, wanted, _colour(picture.mode, image.pad_value))
    canvas.paste(picture, (left, top))
    return canvas


def _natural(size: _Size, width: int, height: int) -> _Size:
    """The size that keeps the image's shape where a side is free."""
    if width == FREE and height == FREE:
        return size
    if width == FREE:
        return _Size(max(1, round(size.width * height / size.height)), height)
    if height == FREE:
        return _Size(width, max(1, round(size.height * width / size.width)))
    return _Size(width, height)


def _rounded(length: int, image: ImageOptions) -> int:
    multiple = image.multiple
    count = {
        "stretch": (2 * length + multiple) // (2 * multiple),
        "pad": -(-length // multiple),
        "crop": length // multiple,
    }[image.fit]
    return max(1, count) * multiple


def _scaled(size: _Size, wanted: _Size, fit: str, *, always: bool) -> _Size:
    """The size of an image that fits inside, or covers, the wanted size.

    One that has its natural size is scaled only if it does not cover.
    """
    ratios = (wanted.width / size.width, wanted.height / size.height)
    ratio = min(ratios) if fit == "pad" else max(ratios)
    if not always and (fit == "pad" or ratio <= 1):
        return size
    width, height = max(1, round(size.width * ratio)), max(1, round(size.height * ratio))
    if fit == "pad":
        return _Size(min(width, wanted.width), min(height, wanted.height))
    return _Size(max(width, wanted.width), max(height, wanted.height))


def _resized(picture: Image.Image, size: _Size) -> Image.Image:
    if picture.size == size:
        return picture
    return picture.resize(size, Image.Resampling.BILINEAR)


def _colour(mode: str, value: int) -> int | tuple[int, ...]:
    return (value,) * len(mode) if mode in {"RGB", "RGBA"} else value
