"""numpy's file formats: one array (npy), or several by name (npz)."""

import io
import sys
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from sire.errors import InvalidInput, error_text, shown
from sire.protocol.content import NPY, NPZ, Buffer, Payload
from sire.spec import Signature
from sire.tensors import as_array, holds_text, view
from sired.codecs.media import Media

_LONGEST_HEADER = 64 * 1024
# Supported kinds of dtype: booleans, integers, floats, complex numbers, strings.
_READ = "biufcU"


def decode(payload: Payload, signature: Signature, media: Media) -> Any:  # noqa: ARG001
    """Decode an array without copying it, or a dict of arrays; a list if they have no names.

    Raises:
        InvalidInput: the file is damaged, or contains Python objects.
    """
    content = payload.frames[0]
    return _read_npy(content) if payload.content_type == NPY else _read_npz(content)


def _read_npy(content: Buffer) -> Any:
    whole = memoryview(content).cast("B")
    header = io.BytesIO(whole[:_LONGEST_HEADER])
    try:
        version = npy_format.read_magic(header)
        read = (
            npy_format.read_array_header_1_0
            if version == (1, 0)
            else npy_format.read_array_header_2_0
        )
        shape, fortran, dtype = read(header)
    except Exception as problem:
        # numpy parses the header as Python, which can raise any exception.
        why = error_text(problem).partition("\n")[0]
        raise InvalidInput(f"The input cannot be read as npy: {why}.") from None
    if dtype.kind not in _READ or not dtype.itemsize:
        what = "Python objects" if dtype.hasobject else shown(dtype)
        raise InvalidInput(
            f"The npy input contains {what}, which are not supported.",
            hint="Save an array of numbers, booleans or strings.",
        )
    body = whole[header.tell() :]
    array = view(body, dtype, shape[::-1] if fortran else shape, f"The npy input's {dtype}")
    if dtype.kind == "U":
        _check_text(body, dtype)
    return array.T if fortran else array


def _check_text(body: memoryview, dtype: "np.dtype[Any]") -> None:
    """Ensure that text has valid code points only, which numpy does not check."""
    characters = np.frombuffer(body, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
    if characters.size and characters.max() > sys.maxunicode:
        raise InvalidInput("The npy input contains text with invalid code points.")


def _read_npz(content: Buffer) -> Any:
    arrays = _unpack(content)
    # numpy's names for arrays that were saved without names.
    unnamed = [f"arr_{number}" for number in range(len(arrays))]
    return list(arrays.values()) if list(arrays) == unnamed else arrays


def _unpack(content: Buffer) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return {
                entry.filename.removesuffix(".npy"): _read_npy(archive.read(entry))
                for entry in archive.infolist()
            }
    except (InvalidInput, MemoryError):
        raise
    except Exception as problem:
        raise _damaged_npz(problem) from None


def decoded_bytes(payload: Payload) -> int:
    """Bytes of the unpacked arrays of an npz, by its directory."""
    try:
        with zipfile.ZipFile(io.BytesIO(payload.frames[0])) as archive:
            return sum(entry.file_size for entry in archive.infolist())
    except Exception as problem:
        raise _damaged_npz(problem) from None


def _damaged_npz(problem: Exception) -> InvalidInput:
    # Each decompressor raises exceptions of its own.
    return InvalidInput(f"The input cannot be read as npz: {error_text(problem)}.")


def encode(value: Any, accept: str) -> Payload:
    """Encode one array as npy, or arrays by name as npz.

    Raises:
        InvalidInput: the output does not consist of arrays.
    """
    buffer = io.BytesIO()
    if accept == NPZ:
        named = value if isinstance(value, dict) else {"output": value}
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, item in named.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    npy_format.write_array(entry, _array(item), allow_pickle=False)
    else:
        if isinstance(value, dict) and len(value) == 1:
            (value,) = value.values()
        np.save(buffer, _array(value), allow_pickle=False)
    return Payload(accept, (buffer.getbuffer(),))


def _array(value: Any) -> Any:
    array = as_array(value)
    if array is None:
        try:
            array = np.asarray(value)
        except ValueError:
            array = np.asarray(None)
    if holds_text(array):
        array = array.astype(str)
    if array.dtype.kind not in _READ:
        raise InvalidInput(
            f"The output is a {type(value).__name__}, not an array.",
            hint="Request npz for several arrays by name, or json: --to json",
        )
    return array
