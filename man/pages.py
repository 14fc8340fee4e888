"""A page is a template written by hand (``sire.1.in``) and parts generated into it."""

import re
from pathlib import Path

import sire

TEMPLATES = Path(__file__).parent
_PLACEHOLDER = re.compile(r"^@([A-Z]+)@\n", re.MULTILINE)


def fill(page: str, parts: dict[str, str]) -> str:
    """The page with each line ``@NAME@`` of its template replaced by the part of that name."""
    template = (TEMPLATES / f"{page}.in").read_text("utf-8")
    known = {**parts, "NOTICE": _notice(page), "TITLE": _title(page)}
    return _PLACEHOLDER.sub(lambda found: known[found[1]], template)


def _notice(page: str) -> str:
    return f'.\\" Made by "make docs" from man/{page}.in and the program; edit those instead.\n'


def _title(page: str) -> str:
    """No date: the same program makes the same page whenever it is made."""
    name, section = page.rsplit(".", 1)
    manuals = {"1": "User Commands", "5": "File Formats", "8": "System Administration"}[section]
    return f'.TH {name.upper()} {section} "" "sire {sire.__version__}" "{manuals}"\n'
