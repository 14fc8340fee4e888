"""Answers that have images among other things, such as depth maps and the masks of segments."""

import colorsys
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sire.errors import InvalidInput

Array = np.ndarray[Any, Any]
_IMAGE_AXES = 2
# Of an image with a palette; 0 stands for no segment.
_MOST_SEGMENTS = 255
# Neighbouring segments get hues that differ by the golden section of a circle.
_TURN = 0.618
# What is said of segments, as a chunk of text of the PNG file.
_KEY = "segments"


def only_image(value: Any) -> Any:
    """The only part of an answer that is pixels of 8 bits; the answer if there is none.

    Lists with one item, and dicts with one value, are that.
    """
    while len(items := _items(value)) == 1 and _has_parts(items[0]):
        value = items[0]
    if isinstance(value, Mapping):
        pictures = [item for item in value.values() if _is_picture(item)]
        return pictures[0] if len(pictures) == 1 else value
    return value


def segments_in(answer: Any) -> list[Mapping[str, Any]]:
    """The segments that an answer lists, each with one mask; empty if it is anything else."""
    items = _items(answer)
    if len(items) < 2 or not all(isinstance(item, Mapping) for item in items):
        return []
    return list(items) if all(_mask(item) is not None for item in items) else []


def segment_map(segments: Sequence[Mapping[str, Any]]) -> tuple[Image.Image, PngInfo]:
    """The masks of segments as one image with a palette.

    The pixels of segment n, counted from 1, have the index n; those of none have 0. The other
    properties of the segments, such as labels and scores, are a chunk of text, in their order.

    Raises:
        InvalidInput: masks overlap, differ in size, or are more than an image can have.
    """
    masks = [_mask(segment) for segment in segments]
    if len(masks) > _MOST_SEGMENTS:
        raise _no_map(f"{len(masks)} segments; an image holds {_MOST_SEGMENTS}")
    if len({np.shape(mask) for mask in masks}) > 1:
        raise _no_map("masks of different sizes")
    pixels = np.zeros(np.shape(masks[0]), np.uint8)
    for number, mask in enumerate(masks, 1):
        inside = np.asarray(mask) > 0
        if pixels[inside].any():
            raise _no_map("masks that overlap")
        pixels[inside] = number
    picture = Image.fromarray(pixels)
    picture.putpalette(_palette(len(masks)))
    text = PngInfo()
    about = [
        {name: _plain(item) for name, item in one.items() if not isinstance(item, np.ndarray)}
        for one in segments
    ]
    text.add_text(_KEY, json.dumps(about))
    return picture, text


def _items(value: Any) -> Sequence[Any]:
    """The items of a list, or the values of a dict; empty for anything else."""
    if isinstance(value, Mapping):
        return list(value.values())
    is_list = isinstance(value, list | tuple)
    is_objects = isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1
    return list(value) if is_list or is_objects else ()


def _has_parts(item: Any) -> bool:
    """Whether an item is not just a number, or a row of numbers."""
    rows = isinstance(item, list | tuple) and any(isinstance(one, Mapping) for one in item)
    return rows or isinstance(item, Mapping | np.ndarray)


def _is_picture(value: Any) -> bool:
    kind = getattr(value, "dtype", None)
    return kind in (np.uint8, np.bool_) and value.ndim >= _IMAGE_AXES


def _mask(segment: Mapping[str, Any]) -> Any:
    pictures = [item for item in segment.values() if _is_picture(item) and item.ndim == _IMAGE_AXES]
    return pictures[0] if len(pictures) == 1 else None


def _palette(count: int) -> list[int]:
    colours = [colorsys.hsv_to_rgb(number * _TURN % 1, 0.7, 1) for number in range(count)]
    return [0, 0, 0, *(round(part * 255) for colour in colours for part in colour)]


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _no_map(what: str) -> InvalidInput:
    return InvalidInput(f"The output has {what}.", hint="Request another type: --to json")
