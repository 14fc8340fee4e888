"""Files are read ahead while something else is done, whole and in large pieces."""

import ctypes
import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sire.spec import ModelSpec
from sired.runtimes.reading import PIECE_BYTES, ReadProgress, read_ahead
from sired.workers.child.model_files import files_to_read, model_files


@pytest.fixture
def cold(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of N bytes, and drop it from the page cache."""

    def _cold(size: int, name: str = "weights") -> Path:
        path = tmp_path / name
        path.write_bytes(os.urandom(1 << 16) * (size >> 16) + bytes(size & 0xFFFF))
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        if in_memory(path) > size // 2:
            pytest.skip("this file system keeps everything in memory")
        return path

    return _cold


def in_memory(path: Path) -> int:
    """Bytes of a file that are in the page cache."""
    size = path.stat().st_size
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped:
        start = ctypes.c_char.from_buffer(mapped)
        told = ctypes.create_string_buffer(-(-size // mmap.PAGESIZE))
        ctypes.CDLL(None).mincore(ctypes.c_void_p(ctypes.addressof(start)), size, told)
        del start
    return told.raw.count(1) * mmap.PAGESIZE


@pytest.mark.parametrize("size", [100_000, 5 * PIECE_BYTES + 12_345])
def test_a_file_is_in_memory_when_what_was_done_meanwhile_is_done(
    cold: Callable[..., Path], size: int
) -> None:
    file = cold(size)
    with read_ahead([file], ReadProgress()):
        pass
    assert in_memory(file) >= size


def test_several_files_are_one_progress_that_only_rises_and_ends_at_the_whole(
    cold: Callable[..., Path],
) -> None:
    told = []
    files = [cold(3 * PIECE_BYTES, "a"), cold(2 * PIECE_BYTES + 1, "b")]
    with read_ahead(files, ReadProgress(lambda *report: told.append(report))):
        pass
    total = 5 * PIECE_BYTES + 1
    assert told[-1] == (total, total)
    assert told == sorted(told)


def test_nothing_of_a_file_stays_with_the_process_that_read_it_ahead(
    cold: Callable[..., Path],
) -> None:
    file = cold(4 * PIECE_BYTES)
    with read_ahead([file], ReadProgress()):
        pass
    assert str(file) not in Path("/proc/self/maps").read_text()


def test_when_the_load_fails_the_rest_of_a_file_is_left(tmp_path: Path) -> None:
    file = tmp_path / "large"
    with file.open("wb") as empty:
        empty.truncate(128 * PIECE_BYTES)
    progress = ReadProgress()
    with pytest.raises(ValueError, match="no model"), read_ahead([file], progress):
        raise ValueError("no model")
    assert progress.done < progress.total


def test_a_file_that_is_not_there_is_left_to_the_runtime_to_tell(tmp_path: Path) -> None:
    with read_ahead([tmp_path / "missing", tmp_path], ReadProgress()):
        pass


def test_files_that_memory_could_not_hold_are_not_read_ahead(tmp_path: Path) -> None:
    huge, small = tmp_path / "huge.pt", tmp_path / "small.pt"
    with huge.open("wb") as file:
        file.truncate(1 << 43)
    small.write_bytes(bytes(100))
    assert files_to_read([huge]) == []
    assert files_to_read(model_files(ModelSpec("m", str(small)))) == [small]


def test_weights_that_an_onnx_file_keeps_beside_it_are_read_ahead_too(tmp_path: Path) -> None:
    import numpy as np
    import onnx

    weights = onnx.numpy_helper.from_array(np.zeros(5000, np.float32), "weights")
    graph = onnx.helper.make_graph([], "g", [], [], [weights])
    path = tmp_path / "m.onnx"
    onnx.save(
        onnx.helper.make_model(graph), str(path), save_as_external_data=True, location="m.data"
    )
    spec = ModelSpec("m", str(path), format="onnx")
    assert files_to_read(model_files(spec)) == [path, tmp_path / "m.data"]
