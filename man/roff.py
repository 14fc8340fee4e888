"""Text in the syntax of the man macros; see groff_man(7)."""

import re
import textwrap


def text(words: str) -> str:
    """Text as one input line with troff syntax escaped; text in `backquotes` becomes bold."""
    words = " ".join(words.split()).replace("\\", "\\e").replace("-", "\\-")
    words = re.sub(r"``?(.+?)``?", r"\\fB\1\\fR", words)
    words = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in words)
    return f"\\&{words}" if words.startswith((".", "'")) else words


def bold(words: str) -> str:
    """Literal text, which the user types as it is."""
    return f"\\fB{text(words)}\\fR"


def italic(words: str) -> str:
    """A placeholder."""
    return f"\\fI{text(words)}\\fR"


def paragraphs(words: str) -> str:
    """Paragraphs, separated by blank lines in the source."""
    parts = re.split(r"\n\s*\n", textwrap.dedent(words).strip())
    return ".PP\n".join(f"{text(part)}\n" for part in parts)


def heading(title: str) -> str:
    """A subsection."""
    return f".SS {bold(title)}\n"


def item(term: str, words: str) -> str:
    """A tagged paragraph: a term, already in roff syntax, and its description indented below it."""
    return f".TP\n{term}\n{text(words)}\n"
