"""Which frameworks a model's worker imports, as far as it can be told from outside."""

from pathlib import Path

import pytest

from sire.spec import ModelSpec
from sired.runtimes.needs import runtimes_needed

TORCH = "import torch\nclass Model: pass\n"
PLAIN = "class Model: pass\n"


def needed(
    tmp_path: Path,
    runtime: str = "python",
    model_class: str | None = None,
    python_path: tuple[str, ...] = (),
) -> set[str]:
    path = str(tmp_path / "weights")
    spec = ModelSpec("m", path, runtime, model_class=model_class, python_path=python_path)
    return set(runtimes_needed(spec))


@pytest.mark.parametrize("runtime", ["onnx", "command", "ollama", "unheard-of"])
def test_what_is_cheap_is_imported_in_any_case(tmp_path: Path, runtime: str) -> None:
    assert needed(tmp_path, runtime) == set()


@pytest.mark.parametrize(
    ("runtime", "expected"), [("onnx", {"pytorch"}), ("command", set()), ("ollama", set())]
)
def test_on_a_gpu_what_computes_in_the_worker_uses_pytorchs_libraries(
    runtime: str, expected: set[str]
) -> None:
    assert runtimes_needed(ModelSpec("m", "/weights", runtime), on_gpu=True) == expected


def test_models_of_pytorch_and_transformers_need_pytorch(tmp_path: Path) -> None:
    assert needed(tmp_path, "pytorch") == {"pytorch"}
    assert needed(tmp_path, "huggingface") == {"pytorch", "huggingface"}


@pytest.mark.parametrize(("source", "expected"), [(TORCH, {"pytorch"}), (PLAIN, set())])
def test_a_class_needs_pytorch_if_its_source_names_it(
    tmp_path: Path, source: str, expected: set[str]
) -> None:
    file = tmp_path / "with:colon.py"
    file.write_text(source)
    assert needed(tmp_path, model_class=f"{file}:Model") == expected
    assert needed(tmp_path, model_class=f"pickle:{file}") == expected
    assert set(runtimes_needed(ModelSpec("m", str(file), "python"))) == expected


@pytest.mark.parametrize(("source", "expected"), [(TORCH, {"pytorch"}), (PLAIN, set())])
def test_a_module_is_found_as_an_import_would_find_it_and_not_imported(
    tmp_path: Path, source: str, expected: set[str]
) -> None:
    package = tmp_path / "of_mine" / "nested"
    package.mkdir(parents=True)
    for directory in (package.parent, package):
        (directory / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "model.py").write_text(source)
    path = (str(tmp_path),)
    assert needed(tmp_path, model_class="of_mine.nested.model:Model", python_path=path) == expected


@pytest.mark.parametrize("name", ["absent.module:Model", "sys:Model", "/no/such/file.py:Model"])
def test_what_cannot_be_read_might_need_it(tmp_path: Path, name: str) -> None:
    assert needed(tmp_path, model_class=name) == {"pytorch"}
