"""The nearest known name to a mistyped one, for hints."""

import difflib
from collections.abc import Iterable


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The name of ``known`` most similar to ``word``; None if no name is similar."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The beginning of a hint, such as "Did you mean spread? "; "" if no name is similar."""
    near = nearest(word, known)
    return f"Did you mean {near}? " if near else ""
