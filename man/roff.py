"""Text as the man macros of troff want it; see groff_man(7)."""

import re
import textwrap


def text(words: str) -> str:
    """Words as one input line: what troff would take for its own is escaped.

    What stands in `backquotes` becomes bold.
    """
    words = " ".join(words.split()).replace("\\", "\\e").replace("-", "\\-")
    words = re.sub(r"``?(.+?)``?", r"\\fB\1\\fR", words)
    words = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in words)
    return f"\\&{words}" if words.startswith((".", "'")) else words


def bold(words: str) -> str:
    """A word to be typed as it is."""
    return f"\\fB{text(words)}\\fR"


def italic(words: str) -> str:
    """A word that stands for another."""
    return f"\\fI{text(words)}\\fR"


def paragraphs(words: str) -> str:
    """Paragraphs, which blank lines separate in the source."""
    parts = re.split(r"\n\s*\n", textwrap.dedent(words).strip())
    return ".PP\n".join(f"{text(part)}\n" for part in parts)


def heading(title: str) -> str:
    """A subsection."""
    return f".SS {bold(title)}\n"


def item(term: str, words: str) -> str:
    """A term that is marked up already, and indented below it what it means."""
    return f".TP\n{term}\n{text(words)}\n"
