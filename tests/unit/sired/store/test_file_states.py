"""Whether files changed, and whether they are being written."""

import os
import threading
from pathlib import Path

import pytest

from sire.errors import InvalidModel
from sired.store import file_states
from sired.store.content import content_files
from sired.store.file_states import differing, states_of, wait_until_written
from sired.store.snapshots import Snapshot, Snapshots


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "f.bin"
    path.write_bytes(b"content")
    return path


def test_a_hash_finds_what_size_and_date_do_not_show(file: Path) -> None:
    at = file.stat()
    hashed, plain = states_of([file], hash_up_to=100), states_of([file])
    file.write_bytes(b"CONTENT")
    os.utime(file, ns=(at.st_atime_ns, at.st_mtime_ns))
    assert differing(hashed, states_of([file], hash_up_to=100)) == (str(file),)
    assert differing(plain, states_of([file])) == ()
    assert differing(plain, states_of([file]), exactly=True) == (str(file),)


def test_a_new_date_of_the_same_content_is_no_change_if_it_was_hashed(
    file: Path,
) -> None:
    hashed, plain = states_of([file], hash_up_to=100), states_of([file])
    os.utime(file, (1, 1))
    assert differing(hashed, states_of([file], hash_up_to=100), exactly=True) == ()
    assert differing(plain, states_of([file])) == (str(file),)


def test_large_files_are_not_hashed(file: Path) -> None:
    assert states_of([file], hash_up_to=6)[0].sha256 == ""
    assert states_of([file], hash_up_to=7)[0].sha256 != ""


def test_files_that_come_and_go_have_changed(file: Path, tmp_path: Path) -> None:
    before = states_of([file])
    other = tmp_path / "other"
    other.write_bytes(b"x")
    assert differing(before, states_of([other])) == (str(file), str(other))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match="gone"):
        states_of([tmp_path / "gone"])


def test_a_file_that_is_being_written_is_waited_for(file: Path) -> None:
    with file.open("r+b") as writer:
        writer.write(b"more")
        writer.flush()
        with pytest.raises(InvalidModel, match=r"f\.bin is being written"):
            wait_until_written([file], patience=0.1)
        timer = threading.Timer(0.1, writer.close)
        timer.start()
        wait_until_written([file], patience=60)
    timer.join()


def test_a_file_that_stays_open_counts_as_complete_in_the_end(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_states, "QUIET_SECONDS", 0.05)
    with file.open("r+b") as writer:
        writer.write(b"more")
        writer.flush()
        wait_until_written([file], patience=60)


def test_the_files_of_a_directory(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "README.md", ".hidden.json", "a/b.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    known = [
        path.relative_to(tmp_path).as_posix()
        for path in content_files("transformers", tmp_path, {})
    ]
    assert known == ["a/b.json", "config.json", "model.safetensors"]
    assert len(content_files("", tmp_path, {})) == 4


def test_snapshots_are_kept_by_model(tmp_path: Path, file: Path) -> None:
    snapshots = Snapshots(tmp_path / "snapshots")
    assert snapshots.get("team/m:1") is None
    snapshots.put("team/m:1", Snapshot(states_of([file]), ("f",), 3.0))
    snapshots.put("other", Snapshot())
    assert Snapshots(tmp_path / "snapshots").get("team/m:1") == Snapshot(
        states_of([file]), ("f",), 3.0
    )
    snapshots.sweep({"team/m:1"})
    assert snapshots.get("other") is None
    snapshots.forget("team/m:1")
    assert snapshots.get("team/m:1") is None


def test_a_damaged_snapshot_is_the_same_as_none(tmp_path: Path) -> None:
    snapshots = Snapshots(tmp_path)
    (tmp_path / "m.json").write_bytes(b"{")
    assert snapshots.get("m") is None
