"""Python data with arrays in it, across the wire."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from sire.errors import InvalidInput
from sire.protocol.content import TENSORS, TREE, Payload
from sire.spec import TensorSpec
from sire.tensors import pack, unpack

torch = pytest.importorskip("torch")

numbers = arrays.arrays(
    dtype=st.sampled_from([np.dtype(name) for name in ("f4", "f8", "i8", "u1", "?", ">i2", "c8")]),
    shape=arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)
leaves = st.one_of(numbers, st.text(), st.integers(-(2**63), 2**64 - 1), st.booleans(), st.none())
trees = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(), inner, max_size=3),
    ),
    max_leaves=8,
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray):
        return bool(
            one.shape == other.shape
            and one.dtype == other.dtype.newbyteorder("=")
            and one.tobytes() == other.astype(one.dtype).tobytes()
        )
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other)) and type(one) is type(other)
    return one == other and type(one) is type(other)


@given(trees)
def test_whatever_is_packed_comes_back_the_same(value: Any) -> None:
    if isinstance(value, dict) and not value:
        return
    assert same(unpack(pack(value)), value)


def test_a_contiguous_array_is_not_copied() -> None:
    array = np.zeros((100, 100), np.float32)
    assert np.shares_memory(np.frombuffer(pack(array).frames[0], np.uint8), array)


def test_torch_tensors_travel_as_arrays_and_bfloat16_as_float32() -> None:
    assert unpack(pack(torch.ones(2, requires_grad=True))).tolist() == [1, 1]
    assert unpack(pack(torch.ones(2, dtype=torch.bfloat16))).dtype == np.float32


def test_arrays_by_name_stay_flat() -> None:
    assert pack({"a": np.zeros(1), "b": np.zeros(1)}).content_type == TENSORS
    assert pack({"a": np.zeros(1), "b": "text"}).content_type == TREE


@pytest.mark.parametrize("value", [{"a": [object()]}, np.array([object()])])
def test_what_cannot_be_sent_is_named(value: Any) -> None:
    with pytest.raises(InvalidInput):
        pack(value)


@pytest.mark.parametrize(
    "payload",
    [
        Payload(TENSORS, (b"1234",), ()),
        Payload(TENSORS, (b"1234",), (TensorSpec("", "float32", (2,)),)),
        Payload(TENSORS, (b"1234",), (TensorSpec("", "float32", (-1,)),)),
        Payload(TENSORS, (b"1234",), (TensorSpec("", "object", (1,)),)),
        Payload(TENSORS, (b"1234",), (TensorSpec("", "no such dtype", (1,)),)),
        Payload(TREE, (), ()),
        Payload(TREE, (b"\xc1",), ()),
        Payload(TREE, (b"\xd6\x01\x07\x00\x00\x00",), ()),
        Payload(TREE, (b"\x91" * 5000,), ()),
    ],
)
def test_frames_that_are_not_what_they_are_said_to_be_are_invalid_input(payload: Payload) -> None:
    with pytest.raises(InvalidInput):
        unpack(payload)


@pytest.mark.parametrize("value", [np.array(["a", "b"]), np.array(["a", "b"], object)])
def test_arrays_of_strings_travel_as_lists(value: NDArray[Any]) -> None:
    assert unpack(pack(value)) == ["a", "b"]
    assert unpack(pack({"labels": value})) == {"labels": ["a", "b"]}


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [("float32", (0, 2**70)), ("float32", (1,) * 70), (">f4", (1,)), ("V0", (0,)), ("O", (1,))],
)
def test_shapes_and_dtypes_that_no_array_has_are_invalid_input(
    dtype: str, shape: tuple[Any, ...]
) -> None:
    frame = bytes(0 if 0 in shape else 4)
    with pytest.raises(InvalidInput):
        unpack(Payload(TENSORS, (frame,), (TensorSpec("", dtype, shape),)))


def test_two_arrays_of_one_name_are_invalid_input() -> None:
    spec = TensorSpec("a", "float32", (1,))
    with pytest.raises(InvalidInput, match="same name"):
        unpack(Payload(TENSORS, (bytes(4), bytes(4)), (spec, spec)))


def test_sparse_and_conjugate_tensors_are_sent_right_or_not_at_all() -> None:
    conjugate = torch.tensor([1 + 2j]).conj()
    assert unpack(pack(conjugate)).tolist() == [1 - 2j]
    with pytest.raises(InvalidInput, match="to_dense"):
        pack(torch.eye(2).to_sparse())


def test_masked_values_are_not_sent_as_if_they_were_there() -> None:
    with pytest.raises(InvalidInput, match="masked values"):
        pack(np.ma.array([1, 2, 3], mask=[False, True, False]))
    with pytest.raises(InvalidInput, match="masked values"):
        pack({"x": np.ma.array([1, 2, 3], mask=[False, True, False])})
    sent = unpack(pack(np.ma.array([1, 2, 3])))
    assert isinstance(sent, np.ndarray)
    assert sent.tolist() == [1, 2, 3]
