"""Text in the syntax of the man macros; see groff_man(7)."""

import re
import textwrap


def text(content: str) -> str:
    """Text as one input line with troff syntax escaped; text in `backquotes` becomes bold."""
    escaped = " ".join(content.split()).replace("\\", "\\e").replace("-", "\\-")
    escaped = re.sub(r"``?(.+?)``?", r"\\fB\1\\fR", escaped)
    escaped = "".join(char if char.isascii() else f"\\[u{ord(char):04X}]" for char in escaped)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def bold(content: str) -> str:
    """Literal text, which the user types as it is."""
    return f"\\fB{text(content)}\\fR"


def italic(content: str) -> str:
    """A placeholder."""
    return f"\\fI{text(content)}\\fR"


def paragraphs(content: str) -> str:
    """Paragraphs, separated by blank lines in the source."""
    parts = re.split(r"\n\s*\n", textwrap.dedent(content).strip())
    return ".PP\n".join(f"{text(part)}\n" for part in parts)


def heading(title: str) -> str:
    """A subsection."""
    return f".SS {bold(title)}\n"


def item(term: str, content: str) -> str:
    """A tagged paragraph: a term, already in roff syntax, and its description indented below it."""
    return f".TP\n{term}\n{text(content)}\n"
