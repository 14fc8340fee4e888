"""Keep this project's text in plain technical English: ``python -m tests.wording``.

Reports words and constructions that readers of other projects' documentation do not know, each with
its place and what to write instead. What is checked is the text of code, documents and manuals.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SUFFIXES = {".py", ".md", ".in", ".toml", ".yml"}
# What to write instead of a word or construction. Patterns are of whole words, in any case.
INSTEAD = {
    r"crew": "supervisor, workers",
    r"ushers?": "broker",
    r"desks?": "job database",
    r"tally": "counters",
    r"doz(?:e|es|ing)": "busy-polling",
    r"wish(?:es|ed)?": "operation, request",
    r"rehears(?:e|es|al|als)": "warm-up",
    r"surroundings": "environment, process setup",
    r"offspring": "descendants",
}
# And in the rooms whose text is plain already: clauses about processes that read as of persons.
INSTEAD_IN_PLAIN_ROOMS = {
    r"errands?": "one-shot worker",
    r"whoever": "name the process",
    r"somebody": "name the process",
    r"nobody": "name the process",
    r"whom": "which",
    r"so many": "N",
}
PLAIN_ROOMS = (
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "README.md",
    "SECURITY.md",
    "benchmarks/",
    "completions/",
    "docs/",
    "examples/",
    "man/",
    "sire/",
    "sire_cli/",
    "sired/",
    "tests/simulation/",
)
# Such words are spelled here, or belong to something else.
EXEMPT = {"tests/wording.py", "CHANGELOG.md"}


def files() -> list[Path]:
    """The project's text files."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = [name for name in listed.stdout.splitlines() if name not in EXEMPT]
    return [ROOT / name for name in names if Path(name).suffix in SUFFIXES]


def findings(path: Path) -> Iterator[str]:
    """What is to be reworded in a file."""
    name = str(path.relative_to(ROOT))
    words = INSTEAD | (INSTEAD_IN_PLAIN_ROOMS if name.startswith(PLAIN_ROOMS) else {})
    pattern = re.compile(rf"\b(?:{'|'.join(f'({each})' for each in words)})\b", re.IGNORECASE)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for found in pattern.finditer(line.replace("_", " ")):
            instead = list(words.values())[found.lastindex - 1] if found.lastindex else ""
            yield f"{name}:{number}: {found[0]!r}: write {instead}"


def main() -> int:
    """Print what is to be reworded; 1 if there is any."""
    found = [line for path in files() if path.exists() for line in findings(path)]
    print("\n".join(found) if found else "The wording is plain.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
