"""What ``import sire`` brings with it."""

import subprocess
import sys

import pytest

HEAVY = {"numpy", "torch", "asyncio", "zmq", "prometheus_client", "pydantic", "sired", "sire_cli"}


def modules_after(statement: str) -> set[str]:
    """The modules that a fresh process has after a statement, besides those it starts with."""
    program = f"import sys; before = set(sys.modules); {statement}\n"
    program += "print(*(set(sys.modules) - before), sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_sire_alone_imports_less_than_the_libraries_it_stands_on() -> None:
    modules = modules_after("import sire")
    assert "sire.errors" in modules
    assert not HEAVY & modules
    assert len(modules) < len(modules_after("import zmq, msgspec"))


@pytest.mark.parametrize(
    ("statement", "brought", "not_brought"),
    [
        ("from sire import ModelManager", {"sire.client.manager", "numpy"}, {"torch", "asyncio"}),
        ("import sired.config", {"sire.options.table"}, {"numpy", "torch", "asyncio", "zmq"}),
        ("import sire.protocol.framing", {"msgspec"}, {"numpy", "torch", "asyncio", "zmq"}),
    ],
)
def test_a_part_imports_what_it_uses_alone(
    statement: str, brought: set[str], not_brought: set[str]
) -> None:
    modules = modules_after(statement)
    assert brought <= modules
    assert not not_brought & modules
