"""The reference pages list everything that the code defines, with the same values."""

import inspect
import re
from collections.abc import Iterator
from typing import Any, get_args

import msgspec
from msgspec.structs import fields

import sire.errors
from man.settings import NAMED
from sire import ModelManager, exit_codes
from sire.errors import SireError
from sire.protocol import requests
from sire.protocol.message import Message
from sired.config.settings import Settings
from sired.scheduler.policies import eviction, placement, routing
from tests import huggingface_page
from tests.docs.conftest import ROOT

REFERENCE = ROOT / "docs" / "reference"


def rows(page: str) -> list[list[str]]:
    """The rows of all tables of a page, as lists of cells."""
    lines = (REFERENCE / page).read_text().splitlines()
    return [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in lines
        if line.startswith("| ")
    ]


def column(page: str, number: int = 0) -> dict[str, str]:
    """What is in backquotes at the start of a row, with the cell of that number."""
    found = {}
    for cells in rows(page):
        if name := re.match(r"`([\w.]+)[`(]", cells[0]):
            found[name[1]] = cells[number].strip("`") if number < len(cells) else ""
    return found


def settings() -> Iterator[tuple[str, str]]:
    """Every setting and its default as text; "" where there is none."""
    for section in fields(Settings):
        named = section.name in NAMED
        kind: Any = NAMED[section.name] if named else section.type
        prefix = f"{section.name}.NAME" if named else section.name
        for field in fields(kind):
            value = field.type.__metadata__[0]
            absent = field.default in (msgspec.NODEFAULT, None, ())
            yield f"{prefix}.{field.encode_name}", "" if absent else value.write(field.default)


def test_every_setting_is_listed_with_its_default() -> None:
    listed = {name: text for name, text in column("configuration.md", 1).items() if "." in name}
    assert listed == dict(settings())


def test_every_error_is_listed_with_its_exit_code() -> None:
    listed = {name: code for name, code in column("errors.md", 1).items() if name[0].isupper()}
    defined = [
        kind
        for _, kind in inspect.getmembers(sire.errors, inspect.isclass)
        if issubclass(kind, SireError) and kind is not SireError
    ]
    assert listed == {kind.__name__: str(kind.exit_code) for kind in defined}


def test_every_exit_code_is_listed() -> None:
    listed = {int(cells[0]) for cells in rows("errors.md") if cells[0].isdigit()}
    assert listed == {
        code for name, code in vars(exit_codes).items() if name.isupper() and type(code) is int
    }


def test_every_request_is_listed_with_its_fields() -> None:
    listed = {cells[0].strip("`"): cells[1] for cells in rows("protocol.md") if len(cells) == 3}
    for kind in get_args(requests.Request):
        tag = kind.__struct_config__.tag
        assert tag in listed
        named = set(re.findall(r"`(\w+)`", listed[tag].partition(";")[0]))
        assert named == {one.name for one in fields(kind)} - {one.name for one in fields(Message)}


def test_every_method_of_the_manager_is_listed_with_its_parameters() -> None:
    text = (REFERENCE / "python-api.md").read_text()
    for name, method in inspect.getmembers(ModelManager, callable):
        if name.startswith("_") or name == "close":
            continue
        (call,) = re.findall(rf"^\| `{name}\((.*?)\)` \|", text, re.MULTILINE)
        listed = re.findall(r"\*?\*?(\w+)(?:=[^,]+)?", call)
        parameters = list(inspect.signature(method).parameters)[1:]
        for parameter in parameters:
            assert parameter in listed or f"`{parameter}`" in text, (name, parameter)
        assert set(listed) <= {*parameters}, name


def test_every_field_that_a_policy_sees_is_listed() -> None:
    text = (REFERENCE / "plugins.md").read_text()
    for record in (eviction.Candidate, placement.Place, routing.Choice):
        for name in record.__dataclass_fields__:
            assert f"| `{name}: " in text, (record, name)
    for built_in in (eviction.BUILT_IN, placement.BUILT_IN, routing.BUILT_IN):
        assert all(f"`{name}`" in text for name in built_in)


def test_every_task_of_huggingface_models_is_listed() -> None:
    assert huggingface_page.PAGE.read_text() == huggingface_page.page(), (
        "run: python -m tests.huggingface_page"
    )
