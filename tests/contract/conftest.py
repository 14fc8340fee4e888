"""Each runtime, with each kind of file it loads."""

import pytest

from sired.runtimes.discovery import find_runtime
from tests.contract.runtime_cases import CASES, CODE


def marks(case):
    """The marks of a case: what is compiled is slow, and what imports transformers shares that."""
    slow = [pytest.mark.slow] if case.compiled else []
    return [*slow, pytest.mark.xdist_group("transformers")] if case.imports_transformers else slow


@pytest.fixture(
    params=[pytest.param(case, id=name, marks=marks(case)) for name, case in CASES.items()]
)
def runtime_case(request):
    return request.param


@pytest.fixture
def model_file(runtime_case, tmp_path):
    path = tmp_path / "the model, with no ending"
    runtime_case.write(path)
    return path


@pytest.fixture
def class_file(tmp_path):
    path = tmp_path / "code.py"
    path.write_text(CODE)
    return path


@pytest.fixture
def load_options(runtime_case, tmp_path):
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
def runtime(runtime_case):
    runtime = find_runtime(runtime_case.runtime)
    yield runtime
    runtime.unload()
