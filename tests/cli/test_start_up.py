"""A command starts quickly: it imports what it uses and nothing else."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.home import Home

SLOW = {"pydantic", "rich", "numpy", "torch", "asyncio", "sire_cli.top", "sired.daemon"}


def imported(home: Home, *arguments: Any, stdin: bytes = b"") -> set[str]:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "sire_cli", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        env=home.environment,
        check=True,
    )
    lines = done.stderr.decode().splitlines()
    return {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time")}


@pytest.mark.parametrize(
    "verb",
    ["predict", "submit", "job", "bench", "ls", "ps", "load", "health", "register", "estimate"],
)
def test_a_verb_imports_nothing_slow(
    home: Home, register: Callable[..., Any], zoo: Path, verb: str
) -> None:
    register("m", 2, "Scale")
    given = ["m", "-i", "-"]
    of_verb: dict[str, list[Any]] = {
        "predict": given,
        "submit": given,
        "job": ["ls"],
        "bench": [*given, "-n", "2"],
        "load": ["m"],
        "register": ["other", zoo / "x2.safetensors", "--trust", "--batch-size", "1"],
        "estimate": [zoo / "x2.safetensors"],
    }
    modules = imported(home, verb, *of_verb.get(verb, []), stdin=b"[1, 2, 3, 4]")
    assert "sire_cli.main" in modules
    assert not SLOW & modules


@pytest.mark.parametrize("arguments", [["--help"], ["bench", "--help"], ["config", "path"]])
def test_help_and_settings_import_nothing_slow(home: Home, arguments: list[str]) -> None:
    assert not {*SLOW, "tomlkit"} & imported(home, *arguments)


def test_a_group_without_a_verb_is_a_usage_error_and_sire_alone_is_help(home: Home) -> None:
    assert b"daemon --help" in home.sire("daemon", code=2).stderr
    assert b"predict" in home.sire().stdout
