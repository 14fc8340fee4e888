"""The manual pages: they are current, they can be read, and they tell what there is."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from sire import exit_codes
from sire_cli.main import full_app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "man" / name for name in ("sire.1", "sired.8", "sire.toml.5")]


def make_manual(
    *arguments: str, directory: Path = ROOT, **variables: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "man", *arguments],
        cwd=directory,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture(scope="module")
def sire_1() -> str:
    return PAGES[0].read_text()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """What makes the pages, where it may be changed."""
    shutil.copytree(ROOT / "man", tmp_path / "man", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_pages_in_the_repository_are_current() -> None:
    done = make_manual("--check")
    assert (done.returncode, done.stderr) == (0, "")


def test_the_width_of_the_terminal_does_not_change_the_pages() -> None:
    assert make_manual("--check", COLUMNS="40", LANG="C").returncode == 0


def test_a_stale_page_is_named_and_made_current(copy: Path) -> None:
    page = copy / "man" / "sired.8"
    page.write_text(page.read_text() + "More.\n")
    found = make_manual("--check", directory=copy)
    assert found.returncode == 1
    assert found.stderr == "man/sired.8 is stale. Run: make docs\n"
    assert make_manual(directory=copy).returncode == 0
    assert page.read_text() == PAGES[1].read_text()


def test_a_page_that_is_missing_is_stale(copy: Path) -> None:
    (copy / "man" / "sire.1").unlink()
    assert make_manual("--check", directory=copy).returncode == 1


@pytest.mark.skipif(not shutil.which("man"), reason="man is not installed")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_man_shows_the_page_without_a_warning(page: Path) -> None:
    done = subprocess.run(
        ["man", "--warnings", "--local-file", page],
        env={**os.environ, "MANWIDTH": "80", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    for section in ("NAME", "SYNOPSIS", "DESCRIPTION", "SEE ALSO"):
        assert f"\n{section}\n" in done.stdout


def test_every_command_has_its_place(sire_1: str) -> None:
    group = typer.main.get_command(full_app())
    assert isinstance(group, typer.core.TyperGroup)
    for command in group.commands:
        assert re.search(rf"^\.SS \\fB{command}\b", sire_1, re.MULTILINE)


def test_every_exit_code_is_explained(sire_1: str) -> None:
    explained = sire_1.partition(".SH EXIT STATUS")[2].partition(".SH")[0]
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and name[0] != "_"}
    assert {int(code) for code in re.findall(r"^\.B (\d+)$", explained, re.MULTILINE)} == codes


def test_every_example_is_a_command_line_that_sire_takes(sire_1: str) -> None:
    section = sire_1.partition(".SH EXAMPLES")[2].partition(".SH")[0]
    lines = section.replace("\\e\n", "").replace("\\-", "-").splitlines()
    examples = [shlex.split(line, comments=True) for line in lines if line.startswith("sire ")]
    assert len(examples) >= 8
    for _, *words in examples:
        command = typer.main.get_command(full_app())
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        own = words[: words.index("|")] if "|" in words else words
        with command.make_context("sire", own) as context:
            assert not context.args
