"""Headers over the limit are refused where they are made."""

from typing import Any

import pytest

from sire.errors import InvalidInput
from sire.protocol.framing import LARGEST_HEADER, decode_request, encode_request
from sire.protocol.jobs import RemoveJobs, Submit
from sire.protocol.requests import Predict, Register
from sire.spec import ModelSpec, TensorSpec

LONG = "x" * (LARGEST_HEADER + 1)
LABELS = {"labels": [f"label-{number}" for number in range(100_000)]}


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Submit(model="m", metadata={"note": LONG}), "metadata"),
        (Register(model=ModelSpec(name="m", path="m.py", args=LABELS)), "model"),
        (Predict(model="m", tensors=(TensorSpec("", "float32", (3,)),) * 40_000), "tensors"),
        (RemoveJobs(jobs=tuple(f"{number:07}" for number in range(150_000))), "jobs"),
    ],
)
def test_a_header_over_the_limit_is_refused_with_its_size_and_largest_field(
    request_: Any, field: Any
) -> None:
    with pytest.raises(InvalidInput) as refused:
        encode_request(request_)
    details: dict[str, Any] = refused.value.details
    assert details["field"] == field
    assert details["size"] > LARGEST_HEADER
    assert str(LARGEST_HEADER) in refused.value.message
    assert repr(field) in refused.value.message


def test_a_header_of_the_largest_size_is_sent_and_read() -> None:
    rest = len(encode_request(Submit(model="m", metadata={"note": "x" * 70_000}))) - 70_000
    fits = Submit(model="m", metadata={"note": "x" * (LARGEST_HEADER - rest)})
    header = encode_request(fits)
    assert len(header) == LARGEST_HEADER
    assert decode_request(header) == fits


@pytest.mark.parametrize("value", [1 << 70, object()])
def test_a_value_that_cannot_be_sent_is_refused(value: object) -> None:
    with pytest.raises(InvalidInput, match="cannot be sent"):
        encode_request(Register(model=ModelSpec(name="m", path="m.py", args={"a": value})))
