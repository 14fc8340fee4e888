"""Text in the encodings that files have: UTF-8, and UTF-16 with a byte order mark."""

from sire.errors import InvalidInput
from sire.protocol.content import BYTE_ORDER_MARKS, Buffer


def decode_text(content: Buffer, what: str) -> str:
    """Decode text without its byte order mark, if it has one.

    Args:
        content: in UTF-8, or in UTF-16 with a byte order mark.
        what: the beginning of an error message.

    Raises:
        InvalidInput: the bytes are not text in that encoding.
    """
    head = bytes(memoryview(content)[:3])
    marks = (mark for mark in BYTE_ORDER_MARKS if head.startswith(mark))
    mark = next(marks, b"")
    encoding = BYTE_ORDER_MARKS.get(mark, "utf-8")
    try:
        text = bytes(content).decode(encoding)
    except UnicodeDecodeError as problem:
        raise InvalidInput(
            f"{what} is not {encoding.upper()}: {problem.reason} at byte {problem.start}.",
            hint="Save it as UTF-8.",
        ) from None
    return text.removeprefix("\ufeff")
