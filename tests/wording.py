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
# What a word or construction is to be replaced by. Patterns are of whole words, in any case.
INSTEAD = {
    r"rehears(?:e|es|al|als)": "warm-up",
    r"surroundings": "environment, process setup",
    r"offspring": "descendants",
}
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
    pattern = re.compile(rf"\b(?:{'|'.join(f'({each})' for each in INSTEAD)})\b", re.IGNORECASE)
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for found in pattern.finditer(line.replace("_", " ")):
            instead = list(INSTEAD.values())[found.lastindex - 1] if found.lastindex else ""
            yield f"{path.relative_to(ROOT)}:{number}: {found[0]!r}: write {instead}"


def main() -> int:
    """Print what is to be reworded; 1 if there is any."""
    found = [line for path in files() if path.exists() for line in findings(path)]
    print("\n".join(found) if found else "The wording is plain.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
