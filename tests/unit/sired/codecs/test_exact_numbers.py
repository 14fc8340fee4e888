"""Numbers from JSON, CSV and Python keep their value, or are rejected by name."""

from typing import Any

import numpy as np
import pytest

from sire.errors import InvalidInput
from sire.protocol import content
from sire.protocol.content import Payload
from sire.spec import ImageOptions, Signature, TensorSpec
from sire.tensors import pack
from sired.codecs import decode

LARGE = (1 << 53) + 1
ANYTHING = Signature()


def takes(dtype: str, *shape: int, name: str = "x") -> Signature:
    return Signature(inputs=(TensorSpec(name, dtype, shape),))


def read(content_type: str, data: bytes, signature: Signature = ANYTHING) -> Any:
    return decode(Payload(content_type, (data,)), signature, ImageOptions())


def from_python(data: Any, signature: Signature = ANYTHING) -> Any:
    return decode(pack(data), signature, ImageOptions())


@pytest.mark.parametrize(
    ("kind", "data"), [(content.JSON, b"[1700000001.25]"), (content.CSV, b"1700000001.25\n")]
)
def test_a_double_stays_a_double_where_the_model_says_nothing(kind: str, data: bytes) -> None:
    array = read(kind, data)
    assert array.dtype == np.float64
    assert array.ravel().tolist() == [1700000001.25]


def test_a_double_of_python_stays_a_double() -> None:
    data = from_python({"t": 1700000001.25, "rows": [[0.1]]})
    assert data["t"].dtype == data["rows"].dtype == np.float64
    assert data["t"] == 1700000001.25
    assert data["rows"].tolist() == [[0.1]]


def test_a_model_that_declares_single_precision_gets_it() -> None:
    for kind, data in ((content.JSON, b"[0.1]"), (content.CSV, b"0.1\n")):
        array = read(kind, data, takes("float32", -1))
        assert array.dtype == np.float32
        assert array.tolist() == [np.float32(0.1)]


@pytest.mark.parametrize(
    ("numbers", "dtype"),
    [
        ([1, 2], np.int64),
        ([LARGE, -1], np.int64),
        ([1, (1 << 63) - 1], np.int64),
        ([1, 1 << 63], np.uint64),
        ([2, (1 << 64) - 1], np.uint64),
        ([1 << 63], np.uint64),
    ],
)
def test_whole_numbers_of_64_bits_are_exact(numbers: list[int], dtype: Any) -> None:
    lines = "".join(f"{number}\n" for number in numbers).encode()
    for array in (
        read(content.JSON, str(numbers).encode()),
        read(content.CSV, lines, takes(np.dtype(dtype).name, -1)),
        read(content.CSV, lines).ravel(),
        from_python(numbers),
    ):
        assert array.dtype == dtype
        assert array.tolist() == numbers


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"[18446744073709551616]", "exceeds 64 bits: 18446744073709551616"),
        (b"[-9223372036854775809]", "exceeds 64 bits: -9223372036854775809"),
        (b"[-1, 9223372036854775808]", "no integer dtype holds together"),
        (b"[0.5, 9007199254740993]", "9007199254740993 would lose digits"),
        (b'{"ids": [9007199254740993, 0.5]}', r"\['ids'\], 9007199254740993 would lose digits"),
        (b"[[1, null]]", r"input\[0\]\[1\] is null"),
    ],
)
def test_whole_numbers_that_no_array_holds_are_rejected_by_name(data: bytes, expected: str) -> None:
    with pytest.raises(InvalidInput, match=expected):
        read(content.JSON, data)


def test_the_same_holds_for_tables() -> None:
    with pytest.raises(InvalidInput, match="9007199254740993 would lose digits"):
        read(content.CSV, b"9007199254740993,0.5\n")
    with pytest.raises(InvalidInput, match="exceeds 64 bits"):
        read(content.CSV, b"18446744073709551616\n")


def test_large_whole_numbers_beside_fractions_are_fine_where_each_is_a_double() -> None:
    assert read(content.JSON, b"[0.5, 9007199254740994]").tolist() == [0.5, 9007199254740994.0]
    assert read(content.CSV, b"0.5,1e300\n").tolist() == [[0.5, 1e300]]


def test_a_model_of_floats_takes_any_whole_number_rounded_as_it_computes() -> None:
    assert read(content.JSON, b"[0.5, 9007199254740993]", takes("float64", -1)).tolist() == [
        0.5,
        9007199254740992.0,
    ]
    assert read(content.JSON, b"[18446744073709551616]", takes("float32", -1)).tolist() == [2.0**64]


def test_whole_numbers_written_as_floats_are_exact_for_a_model_of_integers() -> None:
    data = b"[1.0, 9007199254740993]"
    assert read(content.JSON, data, takes("int64", -1)).tolist() == [1, 9007199254740993]
    table = b"9007199254740993,1.0\n"
    assert read(content.CSV, table, takes("int64", -1, 2)).tolist() == [[9007199254740993, 1]]


def test_ids_and_fractions_as_inputs_of_their_own_are_exact() -> None:
    both = Signature((TensorSpec("ids", "int64", (-1,)), TensorSpec("x", "float64", (-1,))))
    for data in (b'{"ids": [9007199254740993], "x": [0.1]}', b"[[9007199254740993], [0.1]]"):
        named = read(content.JSON, data, both)
        assert named["ids"].tolist() == [9007199254740993]
        assert named["x"].tolist() == [0.1]


@pytest.mark.parametrize(
    ("number", "dtype", "expected"),
    [
        (b"128", "int8", "has 128, which is not in the range of -128 to 127"),
        (b"-1", "uint8", "has -1, which is not in the range of 0 to 255"),
        (b"9223372036854775808", "int64", "has 9223372036854775808, which is not in the range"),
        (b"1e19", "int64", "has 10000000000000000000, which is not in the range"),
        (b"3.5", "int64", "has 3.5, which is not a whole number"),
        (b"2", "bool", "has 2, which is not in the range of 0 to 1"),
    ],
)
def test_the_number_that_does_not_fit_is_named_and_not_its_type(
    number: bytes, dtype: str, expected: str
) -> None:
    with pytest.raises(InvalidInput, match=expected):
        read(content.JSON, b"[" + number + b"]", takes(dtype, -1))


def test_numbers_at_the_ends_of_a_range_fit() -> None:
    assert read(content.JSON, b"[-128, 127.0]", takes("int8", -1)).tolist() == [-128, 127]
    assert read(content.JSON, b"[true, 0]", takes("bool", -1)).tolist() == [True, False]
    assert read(content.JSON, b"[]", takes("int8", -1)).tolist() == []
