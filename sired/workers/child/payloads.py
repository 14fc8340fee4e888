"""Payloads that a worker makes: of a warm-up file, of parts of an output, of a program's answer."""

from pathlib import Path
from typing import Any

from sire.errors import InferenceError, InvalidInput, LoadFailed, shown
from sire.protocol.content import BY_SUFFIX, TEXT, Payload, sniff
from sire.spec import ImageOptions, Signature
from sired import codecs


def part_payload(part: Any, accept: str) -> Payload:
    """A part of an output as a payload; text parts have no newline at the end."""
    if accept == TEXT and isinstance(part, str):
        return Payload(TEXT, (part.encode(errors="replace"),))
    return codecs.encode(part, accept)


def converted(answer: Payload, accept: str) -> Payload:
    """An output in the requested content type."""
    if answer.content_type == accept:
        return answer
    try:
        data = codecs.decode(answer, Signature(), ImageOptions())
    except InvalidInput as problem:
        reason = problem.message.replace("The input", "The output")
        raise InferenceError(f"The output cannot be read: {reason}") from None
    return codecs.encode(data, accept)


def file_payload(path: Path) -> Payload:
    """The content of a file, of the type that its name or its first bytes tell.

    Raises:
        LoadFailed: it is not a file.
    """
    if not path.is_file():
        raise LoadFailed(f"The warm-up input {shown(str(path))} is not a file any more.")
    content = path.read_bytes()
    content_type = BY_SUFFIX.get(path.suffix.lower()) or sniff(content[:16])
    return Payload(content_type or "application/octet-stream", (content,))
