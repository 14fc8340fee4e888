"""ARCHITECTURE.md shows the rooms as they are."""

from tests.architecture import PAGE, imports, page_with, table


def test_the_table_of_rooms_is_current() -> None:
    assert PAGE.read_text() == page_with(table()), "run: python -m tests.architecture"


def test_rooms_form_no_circle() -> None:
    left = imports()
    while left:
        free = {room for room, others in left.items() if not others & left.keys()}
        assert free, f"these import each other: {sorted(left)}"
        left = {room: others for room, others in left.items() if room not in free}
