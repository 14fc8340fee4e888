"""Models completed with the options of ``[defaults]``."""

from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from sire.spec import ModelSpec, Signature, TensorSpec
from sired.config.settings import DefaultSettings
from sired.daemon.models.defaults import OptionDefaults
from sired.store.registry import Registry

BATCHABLE = Signature((TensorSpec("", "float32", (-1, 4)),))


Fill = Callable[[ModelSpec, Collection[str]], ModelSpec]


@pytest.fixture
def fill() -> Fill:
    return OptionDefaults(DefaultSettings(batch_size=8, concurrency=2, pin=True, weight=3.0)).fill


def test_what_is_not_specified_has_the_default_and_what_is_specified_stays(
    fill: Fill,
) -> None:
    spec = ModelSpec("m", "/m", runtime="onnx", signature=BATCHABLE, weight=2.0)
    filled = fill(spec, {"pin"})
    assert (filled.batch_size, filled.concurrency) == (8, 2)
    assert (filled.pinned, filled.weight) == (False, 2.0)


@pytest.mark.parametrize(
    ("spec", "batch_size", "concurrency"),
    [
        (ModelSpec("m", "/m", runtime="command", args={"cmd": "serve"}), 1, 2),
        (ModelSpec("m", "/m", runtime="huggingface", signature=BATCHABLE), 8, 1),
        (ModelSpec("m", "/m", runtime="pytorch", format="state_dict"), 1, 2),
        (ModelSpec("m", "/m", runtime="of-a-removed-package"), 1, 1),
    ],
)
def test_batches_and_concurrency_are_for_models_that_accept_them(
    fill: Fill, spec: ModelSpec, batch_size: int, concurrency: int
) -> None:
    filled = fill(spec, ())
    assert (filled.batch_size, filled.concurrency) == (batch_size, concurrency)
    assert filled.pinned


def test_no_default_changes_nothing() -> None:
    spec = ModelSpec("m", "/m", runtime="onnx")
    assert OptionDefaults(DefaultSettings()).fill(spec, ()) is spec


def test_the_registry_completes_models_and_writes_them_as_registered(
    tmp_path: Path, fill: Fill
) -> None:
    registry = Registry(tmp_path, fill)
    registry.load()
    registry.add(ModelSpec("m", "/m", runtime="onnx", signature=BATCHABLE), replace=False)
    assert registry.get("m").batch_size == 8
    assert registry.update("m", pinned=False).pinned is False
    again = Registry(tmp_path)
    again.load()
    assert (again.get("m").batch_size, again.get("m").weight) == (1, 1.0)
    completed = Registry(tmp_path, fill)
    completed.load()
    assert completed.get("m") == registry.get("m")
