"""Control characters of others never reach a terminal."""

from collections.abc import Callable

import pytest

from sire.printable import printable, printable_drawing, printable_line

HOSTILE = "x\x1b]0;title\x07\x1b[2K\r\x9b1m\u202egnp.exe\x7f"


@pytest.mark.parametrize("make", [printable, printable_line, printable_drawing])
def test_no_control_character_is_left(make: Callable[[str], str]) -> None:
    made = make(HOSTILE)
    assert made.isprintable()
    assert made.startswith("x")


def test_what_was_there_can_be_read() -> None:
    assert printable("a\x1b[2K\r\x9b") == "a\\x1b[2K\\x0d\\x9b"
    assert printable("\u202e") == "\\u202e"


def test_lines_tabs_and_every_language_stay() -> None:
    text = "línea\tzwei\n三 🙂"
    assert printable(text) == text
    assert printable_line("a\nb\t") == "a\\nb\\t"


def test_a_drawing_keeps_its_width() -> None:
    assert len(printable_drawing(HOSTILE)) == len(HOSTILE)
