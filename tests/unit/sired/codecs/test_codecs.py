"""Files to what models take, and answers to files."""

import io
import json
import struct
import wave
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sire.errors import InvalidInput
from sire.protocol import content
from sire.protocol.content import Payload
from sire.spec import ImageOptions, Signature, TensorSpec
from sired.codecs import decode, encode

ANYTHING = Signature()
PLAIN = ImageOptions()


def takes(dtype: str, *shape: int, name: str = "x") -> Signature:
    return Signature(inputs=(TensorSpec(name, dtype, shape),))


def read(
    content_type: str, data: bytes, signature: Signature = ANYTHING, image: ImageOptions = PLAIN
) -> Any:
    return decode(Payload(content_type, (data,)), signature, image)


def npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def picture(mode: str, size: tuple[int, int], color: Any, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size, color).save(buffer, kind)
    return buffer.getvalue()


def sound(samples: bytes, width: int = 2, channels: int = 1) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(8000)
        file.writeframes(samples)
    return buffer.getvalue()


def test_json_numbers_keep_their_value_unless_the_model_says_otherwise() -> None:
    assert read(content.JSON, b"[[1.5, 2]]").dtype == np.float64
    assert read(content.JSON, b"[1, 2]").dtype == np.int64
    assert read(content.JSON, b"[1, 2]", takes("float32", -1)).dtype == np.float32


def test_json_objects_give_inputs_by_name() -> None:
    data = read(content.JSON, b'{"a": [1.0], "b": "text"}')
    assert data["a"].tolist() == [1.0]
    assert data["b"] == "text"


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"[1, NaN]", "not valid JSON"),
        (b"", "empty"),
        (b"[[1, 2], [3]]", "row 0 has 2 items, row 1 has 1"),
        (b"[1, ", "not valid JSON"),
        (b'[1, "two"]', "not every item is a number"),
        (b"[" * 100_000, "not valid JSON"),
    ],
)
def test_bad_json_is_invalid_input_and_says_why(data: bytes, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        read(content.JSON, data)


def test_answers_in_json_have_no_more_digits_than_they_need() -> None:
    answer = encode(np.array([0.1, 1 / 3, 1e-30, 0.0, 16777216.0], np.float32), content.JSON)
    text = bytes(answer.frames[0]).decode()
    assert text.startswith("[0.1,0.33333334,1e-30,0.0,")
    assert np.array_equal(
        np.array(json.loads(text), np.float32),
        np.array([0.1, 1 / 3, 1e-30, 0.0, 16777216.0], np.float32),
    )


def test_not_a_number_is_null_in_json() -> None:
    answer = encode({"y": np.array([np.nan, 1.0, np.inf], np.float32)}, content.JSON)
    assert json.loads(bytes(answer.frames[0])) == {"y": [None, 1.0, None]}


def test_an_npy_file_is_read_without_a_copy() -> None:
    data = npy(np.arange(6, dtype=np.float32).reshape(2, 3))
    array = read(content.NPY, data)
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert not array.flags.owndata
    assert read(content.NPY, npy(np.asfortranarray(array))).tolist() == array.tolist()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (npy(np.array([{}], object)), "Python objects"),
        (npy(np.zeros(9))[:-8], "needs 72 bytes, but the frame has 64"),
        (b"not numpy at all", "cannot be read as npy"),
        (b"", "empty"),
        (npy(np.zeros(1)).replace(b"(1,)", b"(9**9,)"[:4]), "cannot be read|came"),
    ],
)
def test_a_bad_npy_file_is_invalid_input(data: bytes, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        read(content.NPY, data)


def test_npz_gives_arrays_by_name() -> None:
    data = read(content.NPZ, npz(a=np.ones(2), b=np.zeros(3)))
    assert set(data) == {"a", "b"}
    with pytest.raises(InvalidInput, match="npz"):
        read(content.NPZ, npz(a=np.ones(2))[:40])


def test_csv_with_and_without_a_line_of_names() -> None:
    assert read(content.CSV, b"a,b\n1,2\n3,4\n").tolist() == [[1, 2], [3, 4]]
    assert read(content.CSV, b"1,2\n\n3,4").tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"1,2\n3,x\n", "Line 2, column 2"),
        (b"1,2\n3\n", "Line 2 of the CSV input has 1 columns, not 2"),
        (b"", "empty"),
        (b"\xff\xfe1", "UTF-8"),
    ],
)
def test_bad_csv_says_where(data: bytes, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        read(content.CSV, data)


def test_a_picture_is_laid_out_as_the_model_takes_it() -> None:
    red = picture("RGB", (4, 2), (255, 0, 0))
    first = read(content.PNG, red, takes("float32", -1, 3, 2, 4))
    assert first.shape == (1, 3, 2, 4)
    assert first[0, :, 0, 0].tolist() == [1, 0, 0]
    last = read(content.PNG, red, takes("uint8", 1, 8, 8, 3))
    assert last.shape == (1, 8, 8, 3)
    assert last[0, 0, 0].tolist() == [255, 0, 0]
    assert read(content.PNG, red, takes("float32", -1, -1)).shape == (2, 4)
    assert read(content.PNG, red, takes("float32", -1, 64)).shape == (1, 64)
    assert read(content.PNG, red).shape == (1, 3, 2, 4)


def test_pixels_are_normalised_as_registered() -> None:
    gray = picture("L", (2, 2), 255)
    options = ImageOptions(mean=(0.5,), std=(0.25,))
    array = read(content.PNG, gray, takes("float32", -1, 1, 2, 2), options)
    assert array.ravel().tolist() == [2.0] * 4


@pytest.mark.parametrize("kind", [content.PNG, content.JPEG])
def test_a_broken_picture_is_invalid_input(kind: str) -> None:
    whole = picture("RGB", (64, 64), (1, 2, 3), "PNG" if kind == content.PNG else "JPEG")
    for data in (whole[: len(whole) // 2], b"", b"garbage"):
        with pytest.raises(InvalidInput, match="cannot be read as|is empty"):
            read(kind, data)


def test_sound_is_read_as_numbers_between_minus_one_and_one() -> None:
    assert read(content.WAV, sound(struct.pack("<2h", 16384, -32768))).tolist() == [0.5, -1.0]
    assert read(content.WAV, sound(b"\x80\xff", 1)).tolist() == [0.0, 127 / 128]
    assert read(content.WAV, sound(b"\x00\x00\x40", 3)).tolist() == [0.5]
    assert read(content.WAV, sound(bytes(8), 2, 2)).shape == (2, 2)
    with pytest.raises(InvalidInput, match="WAV"):
        read(content.WAV, b"RIFFxxxxWAVEjunk")


def test_text_loses_its_last_newline_only() -> None:
    assert read(content.TEXT, "grüß\ndich\n".encode()) == "grüß\ndich"


def test_what_has_no_type_is_told_by_its_bytes() -> None:
    assert read("application/octet-stream", npy(np.ones(2))).tolist() == [1, 1]
    with pytest.raises(InvalidInput, match="not recognised"):
        read("application/octet-stream", b"\x00\x01\x02", takes("float32", -1))


@pytest.mark.parametrize(
    ("data", "signature", "expected"),
    [
        (np.zeros((3, 8), np.float32), takes("float32", -1, 64), r"float32\[N, 64\]"),
        (np.zeros(3, np.complex64), takes("float32", -1), "complex64"),
        (np.full((1, 2), 1.5, np.float32), takes("int64", -1, 2), r"int64\[N, 2\]"),
    ],
)
def test_what_does_not_fit_the_signature_says_what_was_expected(
    data: NDArray[Any], signature: Signature, expected: str
) -> None:
    with pytest.raises(InvalidInput, match=expected):
        read(content.NPY, npy(data), signature)


def test_a_missing_batch_axis_is_added() -> None:
    assert read(content.JSON, b"[1, 2]", takes("float32", -1, 2)).shape == (1, 2)


def test_several_inputs_are_told_apart_by_name_or_by_order() -> None:
    both = Signature(inputs=(TensorSpec("a", "float32", (-1,)), TensorSpec("b", "int64", (-1,))))
    data = read(content.JSON, b'{"a": [1], "b": [2]}', both)
    assert data["a"].dtype == np.float32
    assert data["b"].dtype == np.int64
    with pytest.raises(InvalidInput, match="a float32"):
        read(content.JSON, b'{"a": [1], "c": [2]}', both)


@pytest.mark.parametrize("kind", [content.NPY, content.NPZ, content.CSV, content.SAFETENSORS])
def test_arrays_survive_being_written_and_read(kind: str) -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    written = encode(array, kind)
    back = read(kind, bytes(written.frames[0]))
    back = back["output"] if isinstance(back, dict) else back
    assert np.array_equal(back, array)


def test_columns_by_name_are_a_table() -> None:
    table = encode({"digit": np.array([3, 4]), "p": np.array([0.5, 1.0])}, content.CSV)
    assert bytes(table.frames[0]) == b"digit,p\n3,0.5\n4,1.0\n"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (np.zeros((2, 2, 2)), content.CSV),
        ({"a": 1, "b": 2}, content.NPY),
        (object(), content.JSON),
        ({"a": np.zeros(2)}, content.TEXT),
        (np.zeros(2), content.PNG),
        (np.zeros(2), "text/html"),
    ],
)
def test_an_answer_that_a_type_cannot_hold_says_which_can(value: Any, kind: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        encode(value, kind)
    assert caught.value.hint
