"""What is no model file is said to be none."""

import struct
from pathlib import Path

import pytest

from sire.errors import InvalidModel, ModelNotFound
from sired.store.fingerprint import fingerprint
from sired.store.formats import recognise


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"just some text that is no model at all",
        b"PK\x03\x04 not really a zip file",
        struct.pack("<Q", 1 << 40) + b"{}",
        struct.pack("<Q", 2) + b"{}" + b"more than the header says",
        struct.pack("<Q", 40) + b'{"a":{"dtype":"F32","data_offsets":[9,1]}}',
        bytes(range(256)) * 8,
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(InvalidModel):
        recognise(path)


def test_a_directory_and_a_missing_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="directory"):
        recognise(tmp_path)
    with pytest.raises(ModelNotFound):
        recognise(tmp_path / "nothing")


def test_a_fingerprint_follows_the_content_and_not_the_name(tmp_path: Path) -> None:
    one, same, other = tmp_path / "one", tmp_path / "same", tmp_path / "other"
    content = bytearray(5 << 20)
    one.write_bytes(content)
    same.write_bytes(content)
    content[-1] = 1
    other.write_bytes(content)
    assert fingerprint(one) == fingerprint(same) != fingerprint(other)
