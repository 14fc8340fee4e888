"""Generate the manual pages: ``python -m man``; check them: ``python -m man --check``."""

import argparse
import sys
from pathlib import Path

from man.commands import commands_section, global_options
from man.daemon import daemon_options
from man.model_options import model_options
from man.pages import fill
from man.settings import settings_sections

ROOT = Path(__file__).parents[1]


def build() -> dict[str, str]:
    """Every generated file: its path below the project's root, and its content."""
    pages = {
        "sire.1": {
            "OPTIONS": global_options(),
            "COMMANDS": commands_section(),
            "MODELOPTIONS": model_options(),
        },
        "sired.8": {"OPTIONS": daemon_options()},
        "sire.toml.5": {"SETTINGS": settings_sections()},
    }
    return {f"man/{page}": fill(page, parts) for page, parts in pages.items()}


def main(arguments: list[str] | None = None) -> int:
    """Write the stale pages, or with ``--check`` only report them; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m man", description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail if a page is stale"
    )
    check = parser.parse_args(arguments).check
    stale = {path: text for path, text in build().items() if _read(ROOT / path) != text}
    for path, text in stale.items():
        if not check:
            (ROOT / path).write_text(text, "utf-8")
        sys.stderr.write(f"{path} is stale. Run: make docs\n" if check else f"Wrote {path}\n")
    return 1 if check and stale else 0


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main())
