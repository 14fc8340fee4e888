"""Models with several inputs: by name, in order, with constants and defaults, as parts."""

import io
import json
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from sire.errors import InvalidInput, InvalidModel
from sire.protocol import content
from sire.protocol.content import Payload
from sire.spec import ImageOptions, Signature, TensorSpec, format_tensors, parse_tensor
from sired.codecs import decode


def takes(*inputs: str) -> Signature:
    return Signature(tuple(map(parse_tensor, inputs)))


def read(data: bytes, signature: Signature, kind: str = content.JSON) -> Any:
    return decode(Payload(kind, (data,)), signature, ImageOptions())


def plain(given: Any) -> dict[str, list[Any]]:
    return {name: value.tolist() for name, value in given.items()}


def parts(signature: Signature, **given: tuple[str, bytes]) -> Any:
    header = [(name, kind) for name, (kind, _) in given.items()]
    frames = (msgspec.msgpack.encode(header), *(data for _, data in given.values()))
    return decode(Payload(content.PARTS, frames), signature, ImageOptions())


def png(pixels: "np.ndarray[Any, Any]") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


TWO = ("x:float32[-1]", "ids:int64[-1,2]")


def test_inputs_are_given_by_name_or_in_order() -> None:
    expected = {"x": [1.0, 2.0], "ids": [[3, 4]]}
    for data in (b'{"ids": [[3, 4]], "x": [1, 2]}', b"[[1, 2], [[3, 4]]]", b"[[1, 2], [3, 4]]"):
        assert plain(read(data, takes(*TWO))) == expected


@pytest.mark.parametrize("data", [b"[1, 2]", b"[[1]]", b"3", b"[[1], [2, 3], [4]]", b'"x"'])
def test_data_that_is_not_one_value_for_each_input_is_rejected_with_what_they_are(
    data: bytes,
) -> None:
    with pytest.raises(InvalidInput, match=r"2 inputs: x float32\[N\], ids int64\[N, 2\]"):
        read(data, takes(*TWO))


def test_a_constant_is_used_where_a_request_does_not_give_the_input() -> None:
    signature = takes("x:float32[-1]", "gain:float32[]=3")
    assert plain(read(b"[1, 2]", signature)) == {"x": [1, 2], "gain": 3}
    assert plain(read(b'{"x": [1]}', signature)) == {"x": [1], "gain": 3}
    assert plain(read(b'{"x": [1], "gain": 5}', signature)) == {"x": [1], "gain": 5}
    with pytest.raises(InvalidInput, match="called gain; the model takes"):
        read(b'{"gain": 5}', signature)


def test_a_constant_is_a_new_array_each_time() -> None:
    signature = takes("x:float32[-1]", "state:float32[2,1,3]=0")
    first = read(b"[1]", signature)["state"]
    first += 1
    assert read(b"[1]", signature)["state"].tolist() == [[[0, 0, 0]], [[0, 0, 0]]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("n:int64[]=9007199254740993", 9007199254740993),
        ("n:uint64[1]=[18446744073709551615]", [18446744073709551615]),
        ("n:float64[-1]=[0.1, 2]", [0.1, 2]),
        ("on:bool[]=true", True),
        ("s:string[1]=en", ["en"]),
        ('s:string[-1]=["a", "b"]', ["a", "b"]),
        ("n:float32[...]=[[1]]", [[1]]),
        ("name:0:float32[2]=7", [7, 7]),
    ],
)
def test_constants_keep_their_value(text: str, value: Any) -> None:
    spec = parse_tensor(text)
    signature = Signature((TensorSpec("x", "float32", (-1,)), spec))
    assert read(b"[1]", signature)[spec.name].tolist() == value
    assert parse_tensor(format_tensors([spec])) == spec


@pytest.mark.parametrize(
    "text",
    [
        "n:int8[]=128",
        "n:int8[]=1.5",
        "n:int8[]=true",
        "n:uint8[]=-1",
        "n:float32[]=x",
        'n:float32[]="1"',
        "on:bool[]=1",
        "n:float32[2]=[1]",
        "n:float32[-1]=1",
        "n:float32[2,2]=[[1, 2], [3]]",
        "float32[]=3",
        "n:float32[]=",
    ],
)
def test_a_constant_that_does_not_fit_is_rejected(text: str) -> None:
    with pytest.raises(InvalidModel):
        parse_tensor(text)


def test_a_signature_is_completed_by_that_of_the_file() -> None:
    reported = takes("x:float32[-1]", "gain:float32[]", "mask:bool[-1]")
    reported = Signature((*reported.inputs[:2], TensorSpec("mask", "bool", (-1,), optional=True)))

    def completed(*declared: str) -> str:
        return format_tensors(takes(*declared).completed_by(reported).inputs)

    assert (
        completed("gain:float32[]=3") == "x:float32[-1], gain:float32[]=3, mask:bool[-1] (optional)"
    )
    assert completed("gain:float32[1]", "x:float64[4]").startswith("gain:float32[1], x:float64[4]")
    for wrong in (["x:float32[-1]"], ["float32[-1]"], ["x:float32[-1]", "float32[]"]):
        with pytest.raises(
            InvalidModel, match=r"the model takes x:float32\[-1\], gain:float32\[\]"
        ):
            completed(*wrong)
    with pytest.raises(InvalidModel, match="no input 'gian'") as caught:
        completed("x:float32[-1]", "gian:float32[]=3")
    assert "Did you mean gain?" in caught.value.hint
    with pytest.raises(InvalidModel, match="Only constants are declared"):
        takes("gain:float32[]=3").completed_by(Signature())


def test_optional_inputs_can_be_left_out() -> None:
    signature = Signature(
        (TensorSpec("x", "float32", (-1,)), TensorSpec("mask", "bool", (-1,), optional=True))
    )
    for data in (b"[1]", b'{"x": [1]}', b'{"x": [1], "mask": null}'):
        assert plain(read(data, signature)) == {"x": [1]}
    assert plain(read(b'{"x": [1], "mask": [true]}', signature)) == {"x": [1], "mask": [True]}


def test_inputs_of_any_shape_take_any() -> None:
    signature = takes("x:float32[...]")
    values: list[Any] = [3.0, [1.0], [[1.0, 2.0]], [[[]]]]
    for value in values:
        assert read(json.dumps(value).encode(), signature).tolist() == value


def test_a_list_of_arrays_has_arrays_of_any_shape() -> None:
    signature = Signature((TensorSpec("s", "sequence(float32)", (-2,)),))
    for data in (b"[[1, 2], [3]]", b'{"s": [[1, 2], [3]]}'):
        given = read(data, signature)
        assert [item.tolist() for item in given] == [[1, 2], [3]]
        assert all(item.dtype == np.float32 for item in given)
    assert [item.tolist() for item in read(b"[[1, 2]]", signature)] == [[1, 2]]
    with pytest.raises(InvalidInput, match="takes a list of arrays"):
        read(b'"text"', signature)


def test_parts_have_a_content_type_each() -> None:
    given = parts(
        takes(*TWO), x=(content.CSV, b"1,2\n"), ids=(content.JSON, b"[[9007199254740993, 4]]")
    )
    assert plain(given) == {"x": [1, 2], "ids": [[9007199254740993, 4]]}
    free = parts(
        Signature(), text=(content.TEXT, b"hi\n"), x=("text/csv; header=present", b"0\n1\n")
    )
    assert free["text"] == "hi"
    assert free["x"].tolist() == [[1]]


def test_a_part_that_cannot_be_read_is_named() -> None:
    with pytest.raises(InvalidInput, match="^x: The input is not valid JSON"):
        parts(takes(*TWO), x=(content.JSON, b"["), ids=(content.JSON, b"[[3, 4]]"))
    with pytest.raises(InvalidInput, match="called x, id; the model takes"):
        parts(takes(*TWO), x=(content.JSON, b"[1]"), id=(content.JSON, b"[[3, 4]]"))


@pytest.mark.parametrize(
    "frames",
    [
        (),
        (b"\xc1",),
        (msgspec.msgpack.encode([("a", "text/plain")]),),
        (msgspec.msgpack.encode([("a", "text/plain")] * 2), b"x", b"y"),
        (msgspec.msgpack.encode([("a", content.PARTS)]), b"x"),
    ],
)
def test_damaged_parts_are_invalid_input(frames: tuple[bytes, ...]) -> None:
    with pytest.raises(InvalidInput):
        decode(Payload(content.PARTS, frames), Signature(), ImageOptions())


@pytest.mark.parametrize(
    "inputs",
    [
        ("sizes:int64[1,2]=[[2,3]]", "image:float32[-1,3,-1,-1]"),
        ("image:float32[-1,3,-1,-1]", "mask:float32[1,1,2,2]=0"),
        ("frame:float32[4,4]=0", "image:float32[1,3,2,2]=0"),
    ],
)
def test_an_image_alone_is_for_the_input_that_is_one(inputs: tuple[str, ...]) -> None:
    signature = takes(*inputs)
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    given = read(png(pixels), signature, content.PNG)
    assert given.keys() == {spec.name for spec in signature.inputs}
    expected = pixels.astype(np.float32).transpose(2, 0, 1)[np.newaxis] / np.float32(255)
    assert np.array_equal(given["image"], expected)


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        (("ids:int64[-1]", "image:float32[1,3,2,2]"), "the model takes ids int64"),
        (("a:float32[1,3,2,2]=0", "b:float32[1,3,2,2]=0"), "can be an image: a, b"),
        (("ids:int64[3]", "image:float32[1,3,2,2]=0"), "int64[3], which is not an image"),
    ],
)
def test_an_image_alone_that_does_not_suffice_is_rejected(
    inputs: tuple[str, ...], expected: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        read(png(np.zeros((2, 2, 3), np.uint8)), takes(*inputs), content.PNG)
    assert expected in str(caught.value)
    assert "-i" in caught.value.hint or "json" in caught.value.hint
