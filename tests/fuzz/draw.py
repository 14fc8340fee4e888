"""Made-up data: values drawn from the bytes a fuzzer gives, and bytes changed at random.

A fuzzer that changes single bytes seldom gets past the outermost check of a format. Drawn from the
same bytes, a message has the right outline and the wrong content, and coverage guides that, too.
"""

import os
import random
import tempfile
from collections.abc import Sequence
from typing import TypeVar

Item = TypeVar("Item")

# What programs are seldom tried with.
NUMBERS = (
    *(0, 1, -1, 2, 7, 63, 64, 127, 128, 255, 256, -128, 65_535, 65_536),
    *(2**31 - 1, 2**31, 2**32, -(2**31), 2**53, 2**62, 2**63 - 1, -(2**63), 2**64 - 1),
    *(0.0, -0.0, 0.5, -1.5, 1e-300, 1e39, 1e300, float("inf"), float("-inf"), float("nan")),
)
TEXTS = (
    *("", "m", "kept", "x", "auto", "cpu", "cuda:0", "dram", "disk", "forever", "1..4", "0"),
    *("../../etc/passwd", "/", "/dev/zero", "/etc/hostname", "a\0b", "\u2028", "ü" * 99),
    *("application/json", "application/x-npy", "application/x-sire-tree", "image/png"),
    *("float32", "int64", "object", "U0", "high", "pickle:", "m:C", "/x.py:C", "onnx", "python"),
)
LONG = 5_000


class Draw:
    """Values made from bytes, the same from the same; nothing and zeros when the bytes end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """0 to 255."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def rest(self) -> bytes:
        """All that has not been used."""
        rest, self._at = self._data[self._at :], len(self._data)
        return rest

    def bytes(self) -> bytes:
        """A few of them, up to 255."""
        size, start = self.byte(), self._at
        self._at += size
        return self._data[start : start + size]

    def choice(self, items: Sequence[Item]) -> Item:
        """One of these."""
        return items[(self.byte() * 256 + self.byte()) % len(items)]

    def text(self) -> str:
        """Any text: odd ones, long ones, and what the bytes say."""
        kind = self.byte() % 8
        if kind == 0:
            return self.bytes().decode(errors="replace")
        if kind == 1:
            return self.choice("ax1.") * LONG
        return self.choice(TEXTS)

    def value(self, depth: int = 3) -> object:
        """Whatever msgpack can hold, seldom what is expected."""
        kind = self.byte() % (12 if depth else 8)
        if kind < 3:
            return self.choice(NUMBERS)
        if kind < 6:
            return self.text()
        if kind < 8:
            return self.choice((None, True, False, b"", self.bytes()))
        if kind < 10:
            return [self.value(depth - 1) for _ in range(self.byte() % 5)]
        if kind == 10:
            return {self.text(): self.value(depth - 1) for _ in range(self.byte() % 4)}
        return nested(self.choice((30, 70, 300)))


def nested(depth: int) -> object:
    """Lists in lists."""
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def mutated(seed: bytes, chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """A seed with some bytes changed, added, taken out, repeated, or put in from another."""
    data = bytearray(seed)
    for _ in range(chance.choice((1, 1, 2, 4, 16))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(6):
            case 0 if data:
                data[at % len(data)] = chance.randrange(256)
            case 1:
                data[at:at] = chance.randbytes(chance.choice((1, 2, 8)))
            case 2:
                del data[at : at + chance.choice((1, 4, 64))]
            case 3:
                data[at:at] = data[at : at + 32] * chance.choice((1, 2, 50))
            case 4:
                other = chance.choice(seeds)
                data[at : at + 64] = other[chance.randrange(len(other) + 1) :][:64]
            case _:
                data[at : at + 4] = chance.choice((b"\xff" * 4, b"\0" * 4, b"9" * 30, b"[" * 99))
    return bytes(data)


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """A directory for one input, in memory where there is such a place."""
    memory = "/dev/shm"
    return tempfile.TemporaryDirectory(
        prefix="fuzz-", dir=memory if os.access(memory, os.W_OK) else None
    )
