"""Each runtime, with each kind of file it loads."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sired.runtimes.base import InferenceRuntime
from sired.runtimes.discovery import find_runtime
from tests.contract.runtime_cases import CASES, CODE, Case


def marks(case: Case) -> list[Any]:
    """The marks of a case; those that import transformers do so in one process."""
    slow = [pytest.mark.slow] if case.slow else []
    return [*slow, pytest.mark.xdist_group("transformers")] if case.imports_transformers else slow


@pytest.fixture(
    params=[pytest.param(case, id=name, marks=marks(case)) for name, case in CASES.items()]
)
def runtime_case(request: pytest.FixtureRequest) -> Case:
    case: Case = request.param
    return case


@pytest.fixture
def model_file(runtime_case: Case, tmp_path: Path) -> Path:
    path = tmp_path / "the model, with no ending"
    runtime_case.write(path)
    return path


@pytest.fixture
def class_file(tmp_path: Path) -> Path:
    path = tmp_path / "code.py"
    path.write_text(CODE)
    return path


@pytest.fixture
def load_options(runtime_case: Case, tmp_path: Path) -> dict[str, Any]:
    class_file = tmp_path / "the_class.py"
    class_file.write_text(runtime_case.code)
    return {
        "device": "cpu",
        "format": runtime_case.format,
        "model_class": f"{class_file}:Twice" if runtime_case.code else None,
        "python_path": (),
        "trusted": runtime_case.needs_trust,
        **runtime_case.args,
    }


@pytest.fixture
def runtime(runtime_case: Case) -> Iterator[InferenceRuntime]:
    runtime = find_runtime(runtime_case.runtime)
    yield runtime
    runtime.unload()
