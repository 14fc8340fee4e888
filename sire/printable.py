"""Text from files and other processes, made safe to show on a terminal.

A name in a model's file may contain control characters: they would set the title of a terminal,
erase what is on it, or make a line read from right to left.
"""

# All but the newline and the tab; and what changes the direction of text.
_CONTROLS = [code for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"]
_DIRECTIONS = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]
_ESCAPED = {
    **{code: f"\\x{code:02x}" for code in _CONTROLS},
    **{code: f"\\u{code:04x}" for code in _DIRECTIONS},
}
_IN_A_CELL = {**_ESCAPED, ord("\n"): "\\n", ord("\t"): "\\t"}
_IN_JSON = {code: f"\\u{code:04x}" for code in _ESCAPED if code > 0x7E}
_REPLACED = dict.fromkeys(_ESCAPED, "\N{REPLACEMENT CHARACTER}")


def printable(text: str) -> str:
    r"""The text with control characters escaped, such as ``\x1b``; lines and tabs stay."""
    return text.translate(_ESCAPED)


def printable_line(text: str) -> str:
    """The text on one line: ends of lines and tabs are escaped as well."""
    return text.translate(_IN_A_CELL)


def printable_output(output: bytes) -> bytes:
    r"""Lines that a program printed, escaped. A ``\r``, as progress bars print, ends a line."""
    lines = output.splitlines(keepends=True)
    return b"".join(_line_of_output(line) for line in lines)


def _line_of_output(line: bytes) -> bytes:
    text = line.rstrip(b"\r\n")
    shown = printable(text.decode(errors="backslashreplace")).encode()
    return shown if text == line else shown + b"\n"


def printable_json(encoded: str) -> str:
    """JSON of the same value, with the control characters escaped that JSON leaves as they are."""
    return encoded if encoded.isascii() else encoded.translate(_IN_JSON)


def printable_drawing(text: str) -> str:
    """The text with each control character replaced by one that takes as much room."""
    return text.translate(_REPLACED)
