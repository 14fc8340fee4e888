"""The directory of temporary files: written down, made, and removed by this daemon or the next."""

import multiprocessing
import multiprocessing.util
import tempfile
from pathlib import Path

import pytest

from sired.daemon.host.temporary_files import PREFIX, remove_directory, take_directory


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(multiprocessing.current_process(), "_config", {})
    return tmp_path / "record"


def left(record: Path) -> list[Path]:
    return sorted((record.parent / "tmp").iterdir())


def test_the_next_daemon_removes_what_a_killed_one_left(record: Path) -> None:
    take_directory(record)
    (old,) = left(record)
    (old / "listener").touch()
    take_directory(record)
    (new,) = left(record)
    assert new != old
    assert new.stat().st_mode & 0o777 == 0o700
    assert multiprocessing.util.get_temp_dir() == str(new)
    remove_directory(record)
    assert not left(record)
    assert not record.exists()


@pytest.mark.parametrize("content", ["", "/", "{tmp}/other", "\udcff", "{tmp}/" + PREFIX + "gone"])
def test_a_record_that_names_nothing_of_a_daemons_removes_nothing(
    record: Path, content: str
) -> None:
    other = record.parent / "tmp" / "other"
    other.mkdir()
    text = content.format(tmp=other.parent)
    record.write_bytes(text.encode(errors="surrogateescape"))
    remove_directory(record)
    assert left(record) == [other]
