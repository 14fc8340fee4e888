"""Control characters of others never reach a terminal."""

import json
from collections.abc import Callable

import pytest

from sire.printable import (
    printable,
    printable_drawing,
    printable_json,
    printable_line,
    printable_output,
)

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


@pytest.mark.parametrize(
    ("printed", "shown"),
    [
        (b"plain\n", b"plain\n"),
        (b"no end yet", b"no end yet"),
        (b"1%\r2%\r\n", b"1%\n2%\n"),
        (b"\x1b[2J\t\x9b1m\xc2\x9b\n", b"\\x1b[2J\t\\x9b1m\\x9b\n"),
        ("\u202e\u0085three\n".encode(), b"\\u202e\\x85three\n"),
    ],
)
def test_the_output_of_a_program_is_escaped_line_by_line(printed: bytes, shown: bytes) -> None:
    assert printable_output(printed) == shown


def test_escaped_json_is_the_same_value() -> None:
    encoded = json.dumps(HOSTILE, ensure_ascii=False)
    assert json.loads(printable_json(encoded)) == HOSTILE
    assert printable_json(encoded).isprintable()
