"""What is kept of models goes with them."""

from pathlib import Path

from sired.store.model_cache import forget, sweep


def test_what_is_kept_of_a_model_goes_and_of_others_stays(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_text("kept")
    forget(tmp_path, "a")
    assert [directory.name for directory in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b" / "deep" / "file").exists()


def test_forgetting_what_is_not_there_is_no_error(tmp_path: Path) -> None:
    forget(tmp_path, "a")
    forget(tmp_path / "nowhere", "a")
    assert list(tmp_path.iterdir()) == []


def test_only_what_is_kept_of_known_models_is_left_by_a_sweep(tmp_path: Path) -> None:
    for name in ("a", "b", ".half-removed"):
        (tmp_path / name).mkdir()
    sweep(tmp_path, {"a", "c"})
    assert [directory.name for directory in tmp_path.iterdir()] == ["a"]
    sweep(tmp_path / "nowhere", {"a"})
