"""ARCHITECTURE.md shows the rooms as they are, and names mean one thing each."""

import ast

from tests.architecture import PAGE, imports, page_with, table


def test_the_table_of_rooms_is_current() -> None:
    assert PAGE.read_text() == page_with(table()), "run: python -m tests.architecture"


def test_rooms_form_no_circle() -> None:
    left = imports()
    while left:
        free = {room for room, others in left.items() if not others & left.keys()}
        assert free, f"these import each other: {sorted(left)}"
        left = {room: others for room, others in left.items() if room not in free}


def test_no_two_classes_have_the_same_name() -> None:
    places: dict[str, list[str]] = {}
    for package in ("sire", "sired", "sire_cli"):
        for file in (PAGE.parent / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places.setdefault(node.name, []).append(str(file))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}
