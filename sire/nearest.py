"""The name somebody meant, for hints."""

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of ``known`` that is most like ``word``; None where none is like it."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question that begins a hint, "Did you mean spread? "; nothing where no name is like it."""
    near = nearest(word, known)
    return f"Did you mean {near}? " if near else ""
