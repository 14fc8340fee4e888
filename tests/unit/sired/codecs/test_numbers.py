"""No digit is lost on the way to a model without a word, and no number becomes another."""

import io
import wave
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from sire.spec import Signature

pytest.importorskip("torch")
import safetensors.torch
import torch
from PIL import Image

from sire.errors import InvalidInput
from sire.protocol import content
from sire.protocol.content import Payload
from sire.spec import ImageOptions, TensorSpec
from sired.codecs import decode, encode

ANYTHING = Signature()


def takes(dtype: str, *shape: int) -> Signature:
    return Signature(inputs=(TensorSpec("x", dtype, shape),))


def read(content_type: str, data: bytes, signature: Signature = ANYTHING) -> Any:
    return decode(Payload(content_type, (data,)), signature, ImageOptions())


def npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def png(pixels: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "data"), [(content.JSON, b"[0.1]"), (content.JSON, b'{"x": [0.1]}')]
)
def test_a_model_in_double_precision_gets_every_digit(kind: str, data: bytes) -> None:
    assert read(kind, data, takes("float64", -1)).tolist() == [0.1]


def test_whole_numbers_in_csv_are_exact_for_a_model_that_takes_them() -> None:
    assert read(content.CSV, b"16777217,2\n", takes("int64", -1, 2)).tolist() == [[16777217, 2]]
    assert read(content.CSV, b"3.0,2\n", takes("int32", -1, 2)).tolist() == [[3, 2]]


@pytest.mark.parametrize(
    ("kind", "data", "signature"),
    [
        (content.JSON, b"[1e300]", takes("float32", -1)),
        (content.CSV, b"1e39,2\n", takes("float32", -1, 2)),
        (content.NPY, npy(np.array([1e300])), takes("float32", -1)),
        (content.JSON, b"[70000]", takes("float16", -1)),
    ],
)
def test_a_number_too_large_for_the_model_does_not_become_infinite(
    kind: str, data: bytes, signature: Signature
) -> None:
    with pytest.raises(InvalidInput, match="the largest float"):
        read(kind, data, signature)


def test_a_large_whole_number_is_rounded_as_any_other_for_a_model_of_floats() -> None:
    assert read(content.JSON, b"[16777217]", takes("float32", -1)).tolist() == [16777216.0]


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn"])
def test_models_in_dtypes_that_numpy_has_not_take_single_precision(dtype: str) -> None:
    assert read(content.JSON, b"[1.5]", takes(dtype, -1)).dtype == np.float32


def test_bfloat16_in_safetensors_is_read_as_single_precision() -> None:
    saved = safetensors.torch.save({"x": torch.tensor([1.5, -2.0], dtype=torch.bfloat16)})
    assert read(content.SAFETENSORS, saved, takes("float32", -1)).tolist() == [1.5, -2.0]


def test_safetensors_in_a_dtype_that_is_not_read_says_so() -> None:
    saved = safetensors.torch.save({"x": torch.ones(2).to(torch.float8_e4m3fn)})
    with pytest.raises(InvalidInput, match="F8_E4M3"):
        read(content.SAFETENSORS, saved)


def test_sixteen_bits_of_a_pixel_are_scaled_not_cut() -> None:
    pixels = np.array([[0, 0x8000], [0xFF00, 0x0100]], np.uint16)
    assert read(content.PNG, png(pixels), takes("uint8", -1, -1)).tolist() == [[0, 128], [255, 1]]


@pytest.mark.parametrize(
    "signature",
    [
        takes("int8", -1, 3, 4, 4),
        takes("string", -1, 3, 4, 4),
        takes("uint8", -1, 3, 0, 4),
        takes("float32", -1, 13),
    ],
)
def test_a_picture_for_a_model_that_takes_none_is_invalid_input(signature: Signature) -> None:
    with pytest.raises(InvalidInput, match="The model takes"):
        read(content.PNG, png(np.zeros((4, 4, 3), np.uint8)), signature)


@pytest.mark.parametrize("kind", [content.JSON, content.CSV, content.TEXT])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, ">f4"])
def test_answers_have_as_few_digits_as_tell_them_apart(kind: str, dtype: Any) -> None:
    answer = encode(np.array([0.1], dtype), kind).frames[0]
    assert bytes(answer).strip(b"[]\n") == b"0.1"


def test_no_number_in_the_text_of_an_answer_reads_back_as_another() -> None:
    floats = np.random.default_rng(0).integers(0, 1 << 32, 20_000, np.uint32).view(np.float32)
    finite = floats[np.isfinite(floats)]
    answer = encode(finite, content.CSV).frames[0]
    assert np.array_equal(np.array(bytes(answer).split(), np.float32), finite)


def test_not_a_number_stays_what_it_is_in_csv() -> None:
    assert encode(np.array([[np.nan, 1]], np.float32), content.CSV).frames[0] == b"nan,1.0\n"


def test_arrays_without_names_are_taken_in_their_order() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, np.ones((1, 2), np.float32))
    assert read(content.NPZ, buffer.getvalue(), takes("float32", -1, 2)).shape == (1, 2)


def test_an_answer_called_file_is_written_to_npz_under_that_name() -> None:
    answer = encode({"file": np.ones(1)}, content.NPZ)
    assert np.load(io.BytesIO(answer.frames[0]))["file"].tolist() == [1]


def test_an_answer_that_holds_itself_is_an_error_and_no_crash() -> None:
    answer: list[Any] = []
    answer.append(answer)
    with pytest.raises(InvalidInput):
        encode(answer, content.JSON)


def test_parameters_of_a_content_type_do_not_matter() -> None:
    assert read("text/csv; charset=utf-8", b"1,2").tolist() == [[1, 2]]


@pytest.mark.parametrize("kind", content.BY_NAME.values())
def test_an_empty_input_is_said_to_be_empty(kind: str) -> None:
    with pytest.raises(InvalidInput, match="empty"):
        read(kind, b"")


def test_wrong_names_are_told_with_the_right_ones() -> None:
    with pytest.raises(InvalidInput, match=r"called y; the model takes x float32\[N\]"):
        read(content.JSON, b'{"y": [1]}', takes("float32", -1))


def test_a_wav_file_cut_short_is_invalid_input_with_the_figures() -> None:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(100))
    with pytest.raises(InvalidInput, match="states 100 bytes of audio but has 50"):
        read(content.WAV, buffer.getvalue()[:-50])


@pytest.mark.parametrize(
    ("data", "where"),
    [(b'{"x": [1,\n NaN]}', "line 2, column 2"), (b"[1,\n,]", "line 2, column 1")],
)
def test_broken_json_says_in_which_line(data: bytes, where: str) -> None:
    with pytest.raises(InvalidInput, match=where):
        read(content.JSON, data)
