"""Reads the structure of protocol buffers field by field, without a schema and without the library.

A message is a sequence of fields, each with its number, its wire type and its length, so that
fields of no interest can be skipped. The encoding is described at
protobuf.dev/programming-guides/encoding.
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5
_LONGEST_VARINT = 10
_LONGEST_NAME = 4096
# Ten times the number in the largest models; parsing them takes a few seconds.
_MOST_FIELDS = 1_000_000
_LONGEST_SEARCH = 1 << 20


class Damaged(Exception):
    """The bytes are not a protocol buffer, or are truncated; its text continues a message."""


class Field(NamedTuple):
    """One field: its number, its wire type, and the offsets of its value."""

    number: int
    wire: int
    start: int
    end: int


class FieldReader:
    """Reads the fields of a file one after another, up to a maximum number."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MOST_FIELDS

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields between two offsets.

        Raises:
            Damaged: the bytes are not fields, or there are too many.
        """
        while start < end:
            self._left -= 1
            if self._left < 0:
                raise Damaged(f" of more than {_MOST_FIELDS} fields")
            self._file.seek(start)
            key = self._varint()
            wire = key & 7
            if wire == LENGTH:
                length = self._varint()
                start = self._file.tell()
            elif wire == VARINT:
                start = self._file.tell()
                self._varint()
                length = self._file.tell() - start
            else:
                start = self._file.tell()
                length = {EIGHT_BYTES: 8, FOUR_BYTES: 4}.get(wire, end)
            if start + length > end:
                raise Damaged
            yield Field(key >> 3, wire, start, start + length)
            start += length

    def text(self, field: Field) -> str:
        """The text in a field.

        Raises:
            Damaged: it is not text, or exceeds the maximum length.
            UnicodeDecodeError: it is not UTF-8.
        """
        if field.wire != LENGTH or field.end - field.start > _LONGEST_NAME:
            raise Damaged
        self._file.seek(field.start)
        return self._file.read(field.end - field.start).decode()

    def integer(self, field: Field) -> int:
        """The signed integer of 64 bits in a field.

        Raises:
            Damaged: it is not an integer.
        """
        if field.wire != VARINT:
            raise Damaged
        self._file.seek(field.start)
        value = self._varint()
        return value - (1 << 64) if value >= 1 << 63 else value

    def mentions(self, word: bytes, field: Field) -> bool:
        """Whether a field contains a word; assumed for fields that are too large to search."""
        if field.end - field.start > _LONGEST_SEARCH:
            return True
        self._file.seek(field.start)
        return word in self._file.read(field.end - field.start)

    def _varint(self) -> int:
        """An integer of seven bits per byte, the lowest first."""
        value = 0
        for position in range(_LONGEST_VARINT):
            byte = self._file.read(1)
            if not byte:
                break
            value |= (byte[0] & 0x7F) << (7 * position)
            if byte[0] < 0x80:
                return value
        raise Damaged
