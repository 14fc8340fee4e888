"""Bytes that are not decoded, and bytes whose type has to be found out."""

from typing import Any

import numpy as np
import pytest

from sire.errors import InvalidInput
from sire.protocol import content
from sire.protocol.content import Payload
from sire.spec import ImageOptions, Signature, TensorSpec
from sired.codecs import decode, encode

PNG = b"\x89PNG\r\n\x1a\n-----"
TEXTS = Signature((TensorSpec("text", "string", (-1,)),))
NUMBERS = Signature((TensorSpec("x", "float32", (-1,)),))


def read(data: bytes, signature: Signature, kind: str = content.UNKNOWN) -> Any:
    return decode(Payload(kind, (data,)), signature, ImageOptions())


def test_a_model_that_takes_bytes_gets_them_as_they_are() -> None:
    for data in (PNG, b"[1]", b"\x00\xff"):
        assert read(data, Signature(), content.BYTES) == data
    assert read(b"%PDF-1.4\n\xf0", Signature()) == b"%PDF-1.4\n\xf0"
    assert read(b"%PDF-1.4\n\xf0", Signature(), "application/pdf") == b"%PDF-1.4\n\xf0"
    for kind in (content.UNKNOWN, "application/pdf", content.BYTES):
        with pytest.raises(InvalidInput):
            read(b"%PDF-1.4\n\xf0", NUMBERS, kind)


def test_a_bare_number_is_one_unless_the_model_takes_text() -> None:
    assert read(b"3.5\n", NUMBERS).tolist() == [3.5]
    assert read(b"3.5\n", Signature()) == 3.5
    assert read(b"3.5\n", TEXTS).tolist() == ["3.5"]
    assert read(b'"a"', Signature()) == "a"


def test_one_text_is_one_row_of_any_model_of_texts() -> None:
    for shape, expected in (
        ((-1,), ["a b"]),
        ((-1, 1), [["a b"]]),
        ((1, 1), [["a b"]]),
        ((), "a b"),
    ):
        signature = Signature((TensorSpec("s", "string", shape),))
        assert read(b"a b\n", signature, content.TEXT).tolist() == expected
    column = Signature((TensorSpec("s", "string", (-1, 1)),))
    assert read(b'["a", "b"]', column, content.JSON).tolist() == [["a"], ["b"]]
    with pytest.raises(InvalidInput, match=r"string\[N, 1\]"):
        read(b'[["a", "b"]]', column, content.JSON)
    with pytest.raises(InvalidInput):
        read(b"a", Signature((TensorSpec("s", "string", (-1, 2)),)), content.TEXT)


def test_answers_of_bytes_are_written_as_they_are() -> None:
    for answer in (PNG, bytearray(PNG), {"file": PNG}, np.frombuffer(PNG, np.uint8)):
        written = encode(answer, content.BYTES)
        assert (written.content_type, written.frames[0]) == (content.BYTES, PNG)
    for other in ("text", np.zeros(3), {"a": PNG, "b": PNG}, np.zeros((2, 2), np.uint8)):
        with pytest.raises(InvalidInput, match="not bytes"):
            encode(other, content.BYTES)
