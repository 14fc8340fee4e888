"""Images: every common format, kept in shape, in the range and order that the model takes."""

import io
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from sire.errors import InvalidInput
from sire.protocol import content
from sire.protocol.content import Payload
from sire.spec import ImageOptions, Signature, TensorSpec
from sired.codecs import decode, encode


def takes(dtype: str, *shape: int) -> Signature:
    return Signature((TensorSpec("x", dtype, shape),))


def saved(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def read(
    data: bytes, signature: Signature | None = None, kind: str = content.PNG, **options: Any
) -> NDArray[Any]:
    signature = signature or takes("float32", 1, 3, -1, -1)
    pixels = decode(Payload(kind, (data,)), signature, ImageOptions(**options))
    assert isinstance(pixels, np.ndarray)
    return pixels


def gradient(width: int, height: int) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


MASK = np.array([[0, 7]], np.uint8)


def objects(*answers: Any) -> "np.ndarray[Any, Any]":
    """Answers as a task returns them: object[items]."""
    found = np.empty(len(answers), object)
    found[:] = answers
    return found


@pytest.mark.parametrize("kind", sorted(content.PICTURES))
def test_every_format_is_read_whatever_its_name_says(kind: str) -> None:
    picture = Image.new("RGB", (4, 3), (255, 0, 0))
    name = kind.partition("/")[2].upper()
    data = saved(picture, name)
    assert content.sniff(data[:16]) == kind
    for stated in (kind, content.PNG):
        given = read(data, takes("uint8", -1, -1, -1, 3), stated)
        assert given.shape == (1, 3, 4, 3)
        assert abs(given.astype(int) - [255, 0, 0]).max() <= 2  # JPEG rounds


def test_a_file_with_several_images_is_rejected() -> None:
    first, second = Image.new("RGB", (2, 2)), Image.new("RGB", (2, 2), "red")
    for name in ("GIF", "TIFF", "WEBP"):
        data = saved(first, name, save_all=True, append_images=[second])
        with pytest.raises(InvalidInput, match="has 2 images; the model takes one"):
            read(data)


@pytest.mark.parametrize(
    ("size", "height", "width", "expected"),
    [
        ((900, 200), 48, -1, (48, 216)),
        ((200, 900), -1, 48, (216, 48)),
        ((3, 300), 10, -1, (10, 1)),
        ((30, 20), -1, -1, (20, 30)),
        ((30, 20), 10, 10, (10, 10)),
    ],
)
def test_a_free_side_keeps_the_shape_of_the_image(
    size: tuple[int, int], height: int, width: int, expected: tuple[int, ...]
) -> None:
    given = read(saved(Image.new("RGB", size)), takes("float32", -1, 3, height, width))
    assert given.shape == (1, 3, *expected)


@pytest.mark.parametrize(
    ("fit", "expected"), [("stretch", (32, 64)), ("pad", (64, 64)), ("crop", (32, 32))]
)
def test_free_sides_are_multiples(fit: str, expected: tuple[int, int]) -> None:
    data = saved(gradient(61, 40))
    given = read(data, takes("uint8", 1, -1, -1, 3), fit=fit, multiple=32)
    assert given.shape == (1, *expected, 3)


def test_padding_and_cropping_keep_every_pixel_that_stays() -> None:
    picture = gradient(61, 40)
    pixels, takes_any = np.asarray(picture), takes("uint8", 1, -1, -1, 3)
    padded = read(saved(picture), takes_any, fit="pad", multiple=32, pad_value=114)[0]
    assert np.array_equal(padded[12:52, 1:62], pixels)
    assert (padded[:12] == 114).all()
    assert (padded[:, 62:] == 114).all()
    cropped = read(saved(picture), takes_any, fit="crop", multiple=32)[0]
    assert np.array_equal(cropped, pixels[4:36, 14:46])


def test_an_image_is_padded_or_cropped_to_fixed_sides_as_pillow_does() -> None:
    picture = gradient(100, 50)
    fixed = takes("uint8", 1, 20, 20, 3)
    small = np.asarray(picture.resize((20, 10), Image.Resampling.BILINEAR))
    padded = read(saved(picture), fixed, fit="pad")[0]
    assert np.array_equal(padded[5:15], small)
    assert not padded[:5].any()
    assert not padded[15:].any()
    cropped = read(saved(picture), fixed, fit="crop")[0]
    covering = picture.resize((40, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(cropped, np.asarray(covering)[:, 10:30])
    stretched = read(saved(picture), fixed)[0]
    whole = picture.resize((20, 20), Image.Resampling.BILINEAR)
    assert np.array_equal(stretched, np.asarray(whole))


def test_channels_come_in_the_declared_order() -> None:
    data = saved(Image.new("RGBA", (2, 2), (1, 2, 3, 4)))
    last, first = takes("uint8", 1, -1, -1, 3), takes("uint8", 1, 4, -1, -1)
    assert read(data, last, order="bgr")[0, 0, 0].tolist() == [3, 2, 1]
    assert read(data, first, order="bgr")[0, :, 0, 0].tolist() == [3, 2, 1, 4]
    assert read(data, takes("uint8", 1, 1, -1, -1), order="bgr").shape == (1, 1, 2, 2)


@pytest.mark.parametrize(
    ("dtype", "options", "expected"),
    [
        ("float32", {}, [0, 0.2, 1]),
        ("float32", {"range": (0.0, 255.0)}, [0, 51, 255]),
        ("float32", {"range": (-1.0, 1.0)}, [-1, -0.6, 1]),
        ("float32", {"range": (0.0, 255.0), "mean": (51.0,), "std": (2.0,)}, [-25.5, 0, 102]),
        ("float32", {"mean": (0.5,), "std": (0.5,)}, [-1, -0.6, 1]),
        ("uint8", {}, [0, 51, 255]),
        ("int8", {"range": (-128.0, 127.0)}, [-128, -77, 127]),
        ("int64", {}, [0, 51, 255]),
    ],
)
def test_pixels_are_in_the_declared_range(
    dtype: str, options: dict[str, Any], expected: list[Any]
) -> None:
    data = saved(Image.fromarray(np.array([[0, 51, 255]], np.uint8)))
    given = read(data, takes(dtype, 1, 1, 1, 3), **options)
    assert given.dtype == dtype
    assert given.ravel().tolist() == pytest.approx(expected, abs=1e-6)


def test_a_range_or_a_mean_that_integers_cannot_have_is_rejected() -> None:
    data = saved(Image.new("L", (1, 1)))
    with pytest.raises(InvalidInput, match="uint8, which cannot represent pixels of -1 to 1"):
        read(data, takes("uint8", 1, 1, 1, 1), range=(-1.0, 1.0))
    with pytest.raises(InvalidInput, match="mean or std, which apply to floats"):
        read(data, takes("uint8", 1, 1, 1, 1), mean=(1.0,))


def test_sixteen_bits_keep_their_fractions_for_a_model_of_floats() -> None:
    data = saved(Image.fromarray(np.array([[1, 32768, 65535]], np.uint16)))
    given = read(data, takes("float32", 1, 1, 1, 3))
    assert given.ravel().tolist() == pytest.approx([1 / 65535, 32768 / 65535, 1], rel=1e-5)
    assert read(data, takes("float32", 1, 3, 1, 3)).shape == (1, 3, 1, 3)
    assert read(data, takes("uint8", 1, 1, 1, 3)).ravel().tolist() == [0, 128, 255]
    floats = saved(Image.fromarray(np.array([[0.5]], np.float32)), "TIFF")
    with pytest.raises(InvalidInput, match="floating point"):
        read(floats)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (np.array([[0, 255]], np.uint8), [[0, 255]]),
        (np.array([[True, False]]), [[255, 0]]),
        (np.array([[0, 0.5, 1]], np.float32), [[0, 128, 255]]),
        (np.array([[[[3, 200]]]], np.int64), [[3, 200]]),
        (np.full((1, 3, 2, 2), 7, np.uint8), [[[7] * 3] * 2] * 2),
        (np.full((2, 2, 4), 7, np.uint8), [[[7] * 4] * 2] * 2),
        ({"mask": np.array([[1, 2]], np.uint8)}, [[1, 2]]),
        ([[1, 2]], [[1, 2]]),
        (objects({"depth": MASK, "predicted_depth": np.zeros((2, 2), np.float32)}), [[0, 7]]),
        (objects([{"label": "cat", "score": 0.5, "mask": MASK}]), [[0, 7]]),
        (
            objects([{"label": "cat", "mask": MASK}, {"label": "dog", "mask": MASK == 0}]),
            [[2, 1]],
        ),
    ],
)
def test_answers_are_pictures(answer: Any, expected: list[Any]) -> None:
    written = encode(answer, content.PNG)
    assert written.content_type == content.PNG
    assert np.asarray(Image.open(io.BytesIO(written.frames[0]))).tolist() == expected


def test_a_map_of_segments_says_what_they_are() -> None:
    segments = [
        {"label": "cat", "score": None, "mask": np.array([[255, 0, 0]], np.uint8)},
        {"label": "dog", "score": np.float32(0.5), "mask": np.array([[0, 0, 255]], np.uint8)},
    ]
    written = Image.open(io.BytesIO(encode(objects(segments), content.PNG).frames[0]))
    assert np.asarray(written).tolist() == [[1, 0, 2]]
    assert isinstance(written, PngImageFile)
    assert json.loads(written.text["segments"]) == [
        {"label": "cat", "score": None},
        {"label": "dog", "score": 0.5},
    ]
    colours = written.convert("RGB")
    assert colours.getpixel((1, 0)) == (0, 0, 0)
    assert len({colours.getpixel((x, 0)) for x in range(3)}) == 3


@pytest.mark.parametrize(
    ("segments", "expected"),
    [
        ([{"mask": np.ones((2, 2), bool)}] * 2, "masks that overlap"),
        ([{"mask": np.ones((2, 2), bool)}, {"mask": np.ones((2, 3), bool)}], "different sizes"),
        ([{"mask": np.zeros((2, 2), bool)}] * 256, "256 segments"),
        ([{"label": "cat"}] * 2, "not an image"),
    ],
)
def test_segments_that_no_image_holds_say_why(segments: list[Any], expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        encode(objects(segments), content.PNG)


def test_gray_of_16_bits_is_a_picture_of_16_bits() -> None:
    pixels = np.array([[0, 1000, 65535]], np.uint16)
    written = encode(pixels, content.PNG).frames[0]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(written))), pixels)


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (np.array([[0, 256]]), "pixels from 0 to 256"),
        (np.array([[-0.5, 1.0]]), "pixels from -0.5 to 1"),
        (np.array([[np.nan, 1.0]]), "pixels from nan"),
        (np.zeros((2, 3, 4, 4)), "shape"),
        (np.zeros((3, 5, 3)), "shape"),
        (np.zeros(3), "shape"),
        ("text", "a str"),
        ({"a": np.zeros((2, 2)), "b": np.zeros((2, 2))}, "a dict"),
    ],
)
def test_an_answer_that_is_no_picture_says_why(answer: Any, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        encode(answer, content.PNG)
