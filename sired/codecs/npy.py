"""numpy's own files: one array (npy), or several by name (npz)."""

import io
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from sired.errors import InvalidInput
from sired.protocol.content import NPY, NPZ, Buffer, Payload
from sired.spec import ImageOptions, Signature
from sired.tensors import as_array, holds_text

# All arrays of an npz together, unpacked: a small file can claim to hold any amount.
LARGEST_UNPACKED = 4 << 30
_LONGEST_HEADER = 64 * 1024
# Kinds of dtype: booleans, integers, floats, complex numbers, strings.
_READ = "biufcU"


def decode(payload: Payload, signature: Signature, image: ImageOptions) -> Any:  # noqa: ARG001
    """Read an array without copying it, or a dict of arrays; a list where they have no names."""
    content = payload.frames[0]
    return _read_npy(content) if payload.content_type == NPY else _read_npz(content)


def _read_npy(content: Buffer) -> Any:
    view = memoryview(content).cast("B")
    header = io.BytesIO(view[:_LONGEST_HEADER])
    try:
        version = npy_format.read_magic(header)
        read = (
            npy_format.read_array_header_1_0
            if version == (1, 0)
            else npy_format.read_array_header_2_0
        )
        shape, fortran, dtype = read(header)
    except Exception as problem:
        # numpy reads the header as Python, which can go wrong in every way Python can.
        said = str(problem).partition("\n")[0]
        raise InvalidInput(f"The input cannot be read as npy: {said}.") from None
    if dtype.kind not in _READ:
        raise InvalidInput(
            f"The npy input holds {'Python objects' if dtype.hasobject else dtype}, which are not "
            "read.",
            hint="Save an array of numbers, booleans or strings.",
        )
    body = view[header.tell() :]
    count = 1
    for axis in shape:
        count *= axis
    if body.nbytes != count * dtype.itemsize:
        raise InvalidInput(
            f"The npy input says {dtype}{list(shape)}, {count * dtype.itemsize} bytes, and has "
            f"{body.nbytes}."
        )
    array = np.frombuffer(body, dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


def _read_npz(content: Buffer) -> Any:
    arrays = _unpack(content)
    # What numpy calls the arrays that were saved without names.
    unnamed = [f"arr_{number}" for number in range(len(arrays))]
    return list(arrays.values()) if list(arrays) == unnamed else arrays


def _unpack(content: Buffer) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
            if size > LARGEST_UNPACKED:
                raise InvalidInput(
                    f"The npz input unpacks to {size} bytes; {LARGEST_UNPACKED} is the limit."
                )
            return {
                entry.filename.removesuffix(".npy"): _read_npy(archive.read(entry))
                for entry in archive.infolist()
            }
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, zlib.error) as problem:
        raise InvalidInput(f"The input cannot be read as npz: {problem}.") from None


def encode(value: Any, accept: str) -> Payload:
    """Write one array as npy, or arrays by name as npz."""
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
            f"The answer is a {type(value).__name__}, not an array.",
            hint="Ask for npz for several arrays by name, or for json: --to json",
        )
    return array
