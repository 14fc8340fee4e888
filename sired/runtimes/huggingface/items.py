"""What a request contains: texts, pairs of texts, pictures, and objects with named fields."""

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from sire.errors import InvalidInput, error_text, shown
from sire.nearest import did_you_mean
from sired.runtimes.huggingface.table import TaskTraits

# 4 GiB, with four bytes for each pixel and the copies that processors make of them.
_MOST_PIXELS = 1 << 28
_CHANNELS = {1, 3, 4}
_DATA = "data:"
_PICTURE = "a picture: a file, uint8[height, width, 3], or base64 in JSON"


def items_in(data: Any) -> list[Any]:
    """The items of a request: one, or those of a list or of an array of objects."""
    data = data[0] if isinstance(data, tuple) and len(data) == 1 else data
    if isinstance(data, np.ndarray) and data.dtype.kind in "OU":
        return list(data.ravel())
    return list(data) if isinstance(data, list | tuple) else [data]


def objects_in(data: Any, task: TaskTraits, defaults: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objects of a request, with all required fields of the task.

    Args:
        data: an object, or a list of them. A text or a picture is the first field of an object.
        task: has the names of the fields.
        defaults: of the fields, as the model was registered with.

    Raises:
        InvalidInput: a field is unknown or missing.
    """
    items = items_in(_by_name(data, task))
    if not items:
        raise InvalidInput("The request is empty.")
    return [_object(item, task, defaults) for item in items]


def _by_name(data: Any, task: TaskTraits) -> Any:
    """Several texts or pictures that were sent by the name of the first field; else the data."""
    if isinstance(data, dict) and task.fields and data.keys() == {task.fields[0]}:
        (only,) = data.values()
        if isinstance(only, list | tuple) or (
            isinstance(only, np.ndarray) and only.dtype == object
        ):
            return only
    return data


def _object(item: Any, task: TaskTraits, defaults: Mapping[str, Any]) -> dict[str, Any]:
    given = {**defaults, **(item if isinstance(item, dict) else {task.fields[0]: item})}
    for name in given:
        if name not in task.fields:
            raise InvalidInput(
                f"The task {task.name} takes no field {shown(name)}.",
                hint=f"{did_you_mean(str(name), task.fields)}Fields are: {_listed(task)}.",
            )
    for name in task.fields[: task.required]:
        if name not in given:
            raise InvalidInput(
                f"The task {task.name} requires the field {name!r}.",
                hint=f"Send a JSON object with: {_listed(task)}.",
            )
    return {name: plain(value) for name, value in given.items()}


def _listed(task: TaskTraits) -> str:
    optional = ", ".join(task.fields[task.required :])
    required = ", ".join(task.fields[: task.required])
    return f"{required}; optional: {optional}" if optional else required


def plain(value: Any) -> Any:
    """Numbers and lists of them as Python's own; pictures and other arrays unchanged."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        return value.item()
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "OU":
        return [plain(item) for item in value]
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    return value


def text_of(value: Any, name: str) -> str:
    """A field that is text.

    Raises:
        InvalidInput: it is not.
    """
    if not isinstance(value, str):
        raise InvalidInput(f"{name} is {_kind(value)}, not text.")
    return value


def texts_of(value: Any, name: str) -> list[str]:
    """A field that is a list of texts.

    Raises:
        InvalidInput: it is not, or it is empty.
    """
    if not isinstance(value, list) or not value:
        raise InvalidInput(f"{name} is {_kind(value)}, not a list of texts.")
    return [text_of(item, f"An item of {name}") for item in value]


def pictures_in(data: Any) -> list[Image.Image]:
    """The pictures of a request, as RGB.

    Raises:
        InvalidInput: an item is not a picture.
    """
    items: list[Any] = []
    for item in items_in(data):
        several = isinstance(item, np.ndarray) and item.ndim == 4
        items += list(item) if several else [item]
    if not items:
        raise InvalidInput("The request is empty.")
    return [picture_of(item) for item in items]


def picture_of(value: Any) -> Image.Image:
    """A picture as RGB: of an array, or of the bytes or base64 of an image file.

    Raises:
        InvalidInput: the value is none of these.
    """
    if isinstance(value, str):
        value = _bytes(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _opened(bytes(value))
    array = np.asarray(value) if isinstance(value, np.ndarray | list) else np.empty(0)
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.dtype.kind == "f":
        array = _unscaled(array)
    if array.ndim == 2:
        array = array[..., np.newaxis]
    fits = array.ndim == 3 and array.size and array.shape[2] in _CHANNELS
    if not fits or array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 255:
        raise InvalidInput(f"The model takes {_PICTURE}; given is {_kind(value)}.")
    pixels = array.astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("RGB")


def _unscaled(array: Any) -> Any:
    """Numbers of 0 to 1, channels first or last, as pixels of 0 to 255, channels last."""
    if array.ndim == 3 and array.shape[0] in _CHANNELS and array.shape[2] not in _CHANNELS:
        array = array.transpose(1, 2, 0)
    if not array.size or array.min() < 0 or array.max() > 1:
        return np.empty(0)
    return np.rint(array * 255).astype(np.uint8)


def _bytes(text: str) -> bytes:
    """The bytes of base64, or of a data URL; other URLs and paths are not read."""
    if text.startswith(_DATA):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidInput(
            f"{shown(text)} is not a picture in base64.",
            hint="Neither URLs nor paths are read: send the content of the file.",
        ) from None


def _opened(content: bytes) -> Image.Image:
    try:
        with Image.open(io.BytesIO(content)) as picture:
            _check_size(picture)
            upright: Image.Image = ImageOps.exif_transpose(picture)
            return upright.convert("RGB")
    except (InvalidInput, MemoryError):
        raise
    except Exception as problem:  # Pillow's parsers raise exceptions of any type
        raise InvalidInput(f"The picture cannot be read: {error_text(problem)}") from None


def _check_size(picture: Image.Image) -> None:
    if picture.width * picture.height > _MOST_PIXELS:
        raise InvalidInput(
            f"The picture has {picture.width} x {picture.height} pixels; the maximum is "
            f"{_MOST_PIXELS}."
        )


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    return f"a {type(value).__name__}"
