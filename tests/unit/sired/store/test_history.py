"""What is kept of every minute, and how it is told."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sired.store import history
from sired.store.history import HistoryStore, Minute, is_damage, set_aside

NOON = 1_700_000_040 // 3600 * 3600


def minute(at: int = NOON, model: str = "a", **given: Any) -> Any:
    nothing = Minute(at, model, 0, 0, None, None, 0, 0, 0, 0)
    return nothing._replace(**given)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def file(path: Path) -> Iterator[HistoryStore]:
    opened = HistoryStore(path)
    yield opened
    opened.close()


def test_minutes_are_told_by_time_and_model_as_they_were_kept(file: HistoryStore) -> None:
    kept = [minute(NOON, "b", errors=1), minute(NOON + 60, "a", answers=2, p50=0.1, p99=0.2)]
    file.add(kept, keep_from=0)
    assert file.read(NOON, 60, None) == kept
    assert file.read(NOON, 60, "b") == kept[:1]
    assert file.read(NOON + 60, 60, None) == kept[1:]


def test_steps_of_several_minutes_have_sums_means_and_the_worst(file: HistoryStore) -> None:
    file.add(
        [
            minute(answers=3, p50=0.1, p99=0.5, memory=10, loads=1, evictions=1),
            minute(NOON + 60, memory=30, errors=2, crashes=1),
            minute(NOON + 120, answers=1, p50=0.5, p99=0.6, memory=20, loads=1),
        ],
        keep_from=0,
    )
    (step,) = file.read(NOON + 130, 3600, None)
    assert step == minute(
        answers=4, errors=2, p50=pytest.approx(0.2), p99=0.6, memory=30, loads=2, evictions=1,
        crashes=1,
    )  # fmt: skip


def test_two_parts_of_a_minute_are_one(file: HistoryStore) -> None:
    file.add([minute(answers=1, p50=0.1, p99=0.9, memory=5, loads=1)], keep_from=0)
    file.add([minute(answers=9, p50=0.3, p99=0.4, memory=3, errors=1)], keep_from=0)
    expected = minute(answers=10, p50=0.3, p99=0.9, memory=5, loads=1, errors=1)
    assert file.read(NOON, 60, None) == [expected]


def test_what_is_too_old_or_too_much_is_forgotten(
    file: HistoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.add([minute(NOON + 60 * n, loads=n) for n in range(5)], keep_from=NOON + 60)
    assert [one.loads for one in file.read(0, 60, None)] == [1, 2, 3, 4]
    monkeypatch.setattr(history, "MOST_ROWS", 2)
    file.add([minute(NOON + 300, loads=5)], keep_from=0)
    assert [one.loads for one in file.read(0, 60, None)] == [4, 5]


def test_only_its_owner_may_read_it(file: HistoryStore, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("at", [0, 4096], ids=["header", "page"])
def test_a_damaged_file_is_known_as_such_and_can_be_set_aside(path: Path, at: Any) -> None:
    HistoryStore(path).close()
    content = bytearray(path.read_bytes())
    content[at : at + 64] = b"\xff" * 64
    path.write_bytes(content)
    with pytest.raises(sqlite3.Error) as caught:
        HistoryStore(path)
    assert is_damage(caught.value)
    aside = set_aside(path)
    assert aside.read_bytes() == content
    HistoryStore(path).close()


def test_a_file_of_a_newer_sire_is_left_alone(file: HistoryStore, path: Path) -> None:
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {history.VERSION + 1}")
    with pytest.raises(sqlite3.NotSupportedError) as caught:
        HistoryStore(path)
    assert not is_damage(caught.value)
