"""The reasons that libraries give when they cannot read a file, without their advice.

Libraries tell how to load a file all the same, by switching their protection off. Whether a file is
trusted is decided by who registers the model, so such sentences are left out of errors.
"""

import re
from collections.abc import Iterator

from sire.errors import error_text

_ADVICE = re.compile(
    r"weights.only|safe_globals|trust|allow.?list|torch\.load|serialization|recommend|"
    r"option to|please|you (can|may|could|have|should|need)|\bset\b|https?://|\bissue\b|from_tf",
    re.IGNORECASE,
)
_SENTENCES = re.compile(r"(?<=[.!?;])\s+")


def reason_of(problem: BaseException, *, whole: bool = False) -> str:
    """The message of a library's exception, or its first line, without sentences of advice."""
    message = str(problem).strip()
    line = " ".join(message.split()) if whole else message.partition("\n")[0]
    sentences = [one for one in _SENTENCES.split(line) if not _ADVICE.search(one)]
    text = " ".join(sentences)
    return error_text(ValueError(text)) if text else f"the library reports {type(problem).__name__}"


def causes_of(problem: BaseException) -> Iterator[BaseException]:
    """An exception and those that led to it, the latest first."""
    found: BaseException | None = problem
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
