"""Models that report what they were given."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.home import Home

CODE = '''
import numpy as np

class Echo:
    """Answers its input."""
    def load(self, path=None): pass
    def predict(self, data): return data

class Told:
    """Answers the type, dtype and shape of its input."""
    def load(self, path=None): pass
    def predict(self, data):
        about = {"type": type(data).__name__, "dtype": str(getattr(data, "dtype", ""))}
        return {**about, "shape": list(getattr(data, "shape", ())), "repr": repr(data)[:200]}
'''


@pytest.fixture
def code(tmp_path: Path) -> Path:
    file = tmp_path / "models.py"
    file.write_text(CODE)
    return file


@pytest.fixture
def told(home: Home, code: Path) -> Callable[..., Any]:
    """Register a model that answers what it was given about; returns a function that asks it."""
    home.register("told", code, "--runtime", "python", "--class", f"{code}:Told")
    return lambda *arguments, **options: json.loads(
        home.sire("predict", "told", *arguments, **options).stdout
    )


@pytest.fixture
def echo(home: Home, code: Path) -> Callable[..., Any]:
    """Register a model that answers its input; returns a function that asks it."""
    home.register("echo", code, "--runtime", "python", "--class", f"{code}:Echo")
    return lambda *arguments, **options: json.loads(
        home.sire("predict", "echo", *arguments, **options).stdout
    )
