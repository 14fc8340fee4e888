"""What programs may count on: the fields that `--json` prints, and the codes of errors."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer.main

from man.commands import _walk
from sire import exit_codes
from sire_cli.main import full_app
from tests.cli.schemas.of_commands import HERE, PRINTED, file_of, text_of
from tests.home import Home

pytestmark = pytest.mark.own_daemon


def test_every_command_with_json_has_a_schema() -> None:
    app = typer.main.get_command(full_app())
    with_json = {
        path.removeprefix("sire ")
        for path, command in _walk("sire", app)
        if any("--json" in parameter.opts for parameter in command.params)
    }
    assert with_json == set(PRINTED)
    assert {file.stem for file in HERE.glob("*.json")} == {file_of(name).stem for name in PRINTED}


@pytest.mark.parametrize("command", PRINTED)
def test_a_schema_that_changes_is_noticed(command: str) -> None:
    """Fields may be added; removing or renaming one breaks scripts.

    ``python -m tests.cli.schemas`` writes the schemas anew.
    """
    assert file_of(command).read_text() == text_of(command)


def test_what_is_printed_is_what_the_schemas_say(home: Home, zoo: Path) -> None:
    def fits(command: str, *arguments: str | Path, stdin: bytes = b"") -> Any:
        printed = json.loads(home.sire(*arguments, "--json", stdin=stdin).stdout)
        schema = json.loads(file_of(command).read_text())
        jsonschema.validate(printed, schema)
        return printed

    weights, given = zoo / "x2.safetensors", b"[1, 2, 3, 4]"
    given_class = ("--runtime", "python", "--class", f"{zoo}/plain.py:Scale")
    fits("register", "register", "m", weights, *given_class)
    fits("load", "load", "m")
    fits("bench", "bench", "m", "-i", "-", "-n", "2", stdin=given)
    (job,) = fits("submit", "submit", "m", "-i", "-", stdin=given)
    fits("job wait", "job", "wait", job["id"])
    fits("job show", "job", "show", job["id"])
    for verb in ("ls", "ps", "stats", "metrics", "devices", "health", "config", "doctor"):
        assert fits(verb, verb)
    fits("alias ls", "alias", "ls")
    fits("job ls", "job", "ls")
    home.sire("key", "add", "me", "--file", home.path / "keys.json")
    fits("key ls", "key", "ls", "--file", home.path / "keys.json")
    fits("stats", "stats", "m")
    fits("show", "show", "m")
    fits("top", "top", "--once")
    fits("daemon status", "daemon", "status")
    fits("estimate", "estimate", weights)
    fits("reload", "reload", "m")
    fits("move", "move", "m", "disk")
    fits("unload", "unload", "m")


def test_the_manual_lists_every_exit_code() -> None:
    manual = (HERE.parents[2] / "man" / "sire.1.in").read_text()
    section = manual.split(".SH EXIT STATUS")[1].split(".SH ")[0]
    listed = {int(code) for code in re.findall(r"^\.B (\d+)$", section, re.MULTILINE)}
    named = {value for value in vars(exit_codes).values() if type(value) is int}
    assert listed == named
