"""The files a model is read from, and whether there is memory to read them ahead."""

from pathlib import Path

from sired.devices.cpu import CpuProbe
from sired.errors import InvalidModel
from sired.runtimes.reading import WORTH_A_THREAD
from sired.spec import ModelSpec
from sired.store.huggingface import weight_files
from sired.store.onnx_file import onnx_files


def files_to_read(spec: ModelSpec) -> list[Path]:
    """The files to read ahead for a model, in order.

    There are none where memory could not hold them all: what is read ahead would push out what was
    read before it, and everything would be read twice.
    """
    try:
        files = _files_of(spec)
        size = sum(file.stat().st_size for file in files)
    except (OSError, InvalidModel):  # the runtime tells what is wrong with them
        return []
    fits = size < WORTH_A_THREAD or size <= CpuProbe().free_bytes()
    return files if fits else []


def _files_of(spec: ModelSpec) -> list[Path]:
    path = Path(spec.path)
    if spec.runtime == "huggingface":
        return weight_files(path)
    if path.is_dir():  # which of its files are read only the runtime knows
        return []
    return onnx_files(path) if spec.format == "onnx" else [path]
