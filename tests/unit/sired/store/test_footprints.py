"""What was learned of models, from one daemon to the next."""

import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sire.spec import ModelSpec
from sired.store.footprints import MOST_ENTRIES, Footprints

ONE = ModelSpec("one", "/a", runtime="onnx", fingerprint="f")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "footprints.json"


def test_a_model_that_was_never_measured_has_no_footprint(path: Path) -> None:
    assert Footprints(path).get(ONE, "cpu") is None


def test_footprints_outlive_the_daemon_by_content_runtime_and_kind(path: Path) -> None:
    footprints = Footprints(path)
    footprints.learn(ONE, "cpu", 1000)
    footprints.save()
    again = Footprints(path)
    assert again.get(ModelSpec("same", "/b", runtime="onnx", fingerprint="f"), "cpu") == 1000
    assert again.get(ModelSpec("one", "/a", runtime="pytorch", fingerprint="f"), "cpu") is None
    assert again.get(ModelSpec("one", "/a", runtime="onnx", fingerprint="g"), "cpu") is None
    assert again.get(ONE, "cuda") is None


def test_only_a_change_of_more_than_one_percent_is_news(path: Path) -> None:
    footprints = Footprints(path)
    assert footprints.learn(ONE, "cpu", 1000)
    assert not footprints.learn(ONE, "cpu", 1010)
    assert footprints.learn(ONE, "cpu", 1011)
    assert footprints.learn(ONE, "cpu", 500)


def test_many_small_steps_are_news_in_the_end(path: Path) -> None:
    footprints = Footprints(path)
    footprints.learn(ONE, "cpu", 1000)
    news = [footprints.learn(ONE, "cpu", 1000 + step) for step in range(1, 30)]
    assert any(news)


def test_the_oldest_are_forgotten_when_there_are_too_many(path: Path) -> None:
    footprints = Footprints(path)
    for number in range(MOST_ENTRIES + 1):
        footprints.learn(ModelSpec("m", "/a", fingerprint=str(number)), "cpu", 1)
    assert footprints.get(ModelSpec("m", "/a", fingerprint="0"), "cpu") is None
    assert footprints.get(ModelSpec("m", "/a", fingerprint="1"), "cpu") == 1


@pytest.mark.parametrize(
    "damage", [b"{", b"\xff", b'{"\xff": 1}', b'{"f onnx cpu": "much"}', b"[]"]
)
def test_a_damaged_file_is_put_aside_and_learning_goes_on(path: Path, damage: Any) -> None:
    path.write_bytes(damage)
    footprints = Footprints(path)
    assert footprints.get(ONE, "cpu") is None
    assert path.with_suffix(".damaged").read_bytes() == damage
    footprints.learn(ONE, "cpu", 7)
    footprints.save()
    assert Footprints(path).get(ONE, "cpu") == 7


def test_a_disk_that_takes_nothing_costs_a_warning_and_no_more(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    footprints = Footprints(tmp_path / "gone/footprints.json")
    footprints.learn(ONE, "cpu", 7)
    with caplog.at_level(logging.WARNING):
        footprints.save()
    assert "No such file or directory" in caplog.text


@pytest.mark.parametrize(
    "different",
    [
        {"model_class": "/c.py:Other"},
        {"args": {"mb": 2}},
        {"batch_size": 8},
        {"concurrency": 2},
        {"max_memory": 1000},
    ],
)
def test_what_is_learned_belongs_to_class_arguments_batches_and_declaration(
    path: Path, different: Any
) -> None:
    footprints = Footprints(path)
    one = msgspec.structs.replace(ONE, model_class="/c.py:One", args={"mb": 1})
    footprints.learn(one, "cpu", 1000)
    assert footprints.get(one, "cpu") == 1000
    assert footprints.get(msgspec.structs.replace(one, **different), "cpu") is None


def test_a_model_that_is_forgotten_was_measured_on_no_kind_of_device(path: Path) -> None:
    footprints = Footprints(path)
    other = msgspec.structs.replace(ONE, fingerprint="g")
    for kind in ("cpu", "cuda"):
        footprints.learn(ONE, kind, 1000)
        footprints.learn(other, kind, 1000)
    footprints.forget(ONE)
    for known in (footprints, Footprints(path)):
        assert known.get(ONE, "cpu") is None
        assert known.get(ONE, "cuda") is None
        assert known.get(other, "cuda") == 1000
