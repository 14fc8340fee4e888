"""A directory to follow the pages in: the examples, and the commands that the pages name."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sire.client.autostart import daemon_runs
from tests.home import Home

ROOT = Path(__file__).parents[2]

# What `pip install -e .` leaves behind for a package that consists of entry points.
PIP = """
import re, sys, tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
info = Path(re.sub("[-_.]+", "_", project["name"]) + "-1.dist-info")
info.mkdir(exist_ok=True)
(info / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {project['name']}\\nVersion: 1\\n")
lines = []
for group, names in project["entry-points"].items():
    lines += [f"[{group}]", *(f"{name} = {where}" for name, where in names.items())]
(info / "entry_points.txt").write_text("\\n".join(lines))
"""


@pytest.fixture
def place() -> Iterator[tuple[Path, dict[str, str]]]:
    """(directory, environment) for one page: a new home, with nothing registered."""
    home = Home(Path(tempfile.mkdtemp(prefix="sire-", dir="/tmp")))
    directory, commands = home.path / "work", home.path / "bin"
    directory.mkdir()
    commands.mkdir()
    (directory / "examples").symlink_to(ROOT / "examples")
    (home.path / "pip.py").write_text(PIP)
    for name, what in (("sire", "-m sire_cli"), ("python", ""), ("pip", home.path / "pip.py")):
        command = commands / name
        command.write_text(f'#!/bin/sh\nexec {sys.executable} {what} "$@"\n')
        command.chmod(0o755)
    environment = home.environment | {
        "PATH": f"{commands}:{os.environ['PATH']}",
        "PYTHONPATH": f"{ROOT}:{directory}",
    }
    yield directory, environment
    if daemon_runs(home.paths):
        home.sire("daemon", "stop")
    shutil.rmtree(home.path, ignore_errors=True)
