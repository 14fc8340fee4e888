"""Mappings of files that outlive what happens to the files."""

import mmap
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sired.workers.child import mapped_files
from sired.workers.child.mapped_files import mapped_files as find

SIZE = 3 * mmap.PAGESIZE + 100
OPEN = {
    "private": {"flags": mmap.MAP_PRIVATE, "prot": mmap.PROT_READ | mmap.PROT_WRITE},
    "private, read only": {"flags": mmap.MAP_PRIVATE, "prot": mmap.PROT_READ},
    "shared, read only": {"flags": mmap.MAP_SHARED, "prot": mmap.PROT_READ},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file with blanks"
    path.write_bytes(bytes(range(256)) * (SIZE // 256) + bytes(SIZE % 256))
    return path


def mapped(path: Path, kind: str) -> mmap.mmap:
    with path.open("rb") as opened:
        return mmap.mmap(opened.fileno(), SIZE, **OPEN[kind])


def mappings_of(path: Path) -> Any:
    return [one for maps in find().values() for one in maps if one.path == str(path)]


@pytest.mark.parametrize("kind", OPEN)
@pytest.mark.parametrize("piece", [mmap.PAGESIZE, 1 << 26])
def test_a_detached_mapping_outlives_truncation(
    file: Path, kind: str, piece: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapped_files, "PIECE_BYTES", piece)
    content = file.read_bytes()
    memory = mapped(file, kind)
    view = np.frombuffer(memory, np.uint8)
    for mapping in mappings_of(file):
        mapping.detach()
    assert not mappings_of(file)
    os.truncate(file, 0)
    file.write_bytes(b"something else")
    assert view.tobytes() == content


def test_what_the_process_wrote_is_kept(file: Path) -> None:
    memory = mapped(file, "private")
    memory[5] = 99
    for mapping in mappings_of(file):
        mapping.detach()
    os.truncate(file, 0)
    assert memory[5] == 99
    memory[6] = 98
    assert memory[6] == 98


def test_a_truncated_file_is_an_error_and_not_the_end_of_the_process(
    file: Path,
) -> None:
    memory = mapped(file, "private")
    (mapping,) = mappings_of(file)
    os.truncate(file, 10)
    with pytest.raises(OSError, match="Bad address"):
        mapping.detach()
    memory.close()


def test_libraries_and_files_that_the_process_writes_to_are_left_alone(
    file: Path,
) -> None:
    with file.open("r+b") as opened:
        written = mmap.mmap(opened.fileno(), SIZE, mmap.MAP_SHARED)
        assert not mappings_of(file)
        written.close()
    assert not [maps for maps in find().values() if ".so" in maps[0].path]


def test_a_deleted_file_is_found_without_its_path(file: Path) -> None:
    memory = mapped(file, "private")
    inode = file.stat().st_ino
    file.unlink()
    (found,) = [maps for key, maps in find().items() if key.inode == inode]
    assert found[0].path == ""
    memory.close()
