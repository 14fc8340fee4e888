"""The tests with each supported version of Python: ``make nox``.

Whatever a machine lacks is skipped, and nox says so: an interpreter that is not installed, or
packages that have no build for a version, such as torch for a new one. What needs no framework runs
with every interpreter.
"""

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
VERSIONS = ["3.11", "3.12", "3.13"]
# Tests that import no torch, no ONNX Runtime and no transformers.
LIGHT_TESTS = [
    "tests/simulation",
    "tests/unit/sire",
    "tests/unit/sire_cli",
    "tests/unit/sired/codecs",
    "tests/unit/sired/config",
    "tests/unit/sired/daemon",
    "tests/unit/sired/scheduler",
    "tests/unit/sired/server",
    "tests/unit/sired/store",
]
FRAMEWORKS = ("torch", "onnxruntime")
DEPENDENCIES = nox.project.load_toml("pyproject.toml")["project"]["dependencies"]
LIGHT = [one for one in DEPENDENCIES if not one.startswith(FRAMEWORKS)]
FOR_TESTS = [
    "pytest",
    "pytest-timeout",
    "pytest-xdist",
    "hypothesis",
    "jsonschema",
    "onnx",
    "scikit-learn",
]


@nox.session(python=VERSIONS)
def light(session: nox.Session) -> None:
    """Run the tests that need no framework."""
    session.install("--constraint", "constraints.txt", *LIGHT, *FOR_TESTS)
    session.install("--no-deps", "--editable", ".")
    session.run("pytest", *(session.posargs or LIGHT_TESTS))


@nox.session(python=VERSIONS)
def full(session: nox.Session) -> None:
    """Run every test that takes no longer than minutes, with the tested version of everything."""
    try:
        session.install("--constraint", "constraints.txt", "--editable", ".[dev]")
    except nox.command.CommandFailed:
        session.skip(f"some package, torch most likely, has no build for {session.python} here")
    session.run("pytest", "-n", "2", "-m", "not long", *session.posargs)
