"""Counts of measured values, by how large they are."""

import math
from collections.abc import Iterator

# Of every doubling: a value is known to 1/16 of itself, as in HdrHistogram.
PARTS = 16


class Histogram:
    """How often values of each size were measured; takes little memory however many there are.

    Attributes:
        count: values measured.
        sum: of them.
        largest: of them.
        cells: how many there are of each size; a doubling has ``PARTS`` cells.
    """

    __slots__ = ("cells", "count", "largest", "sum")

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self.largest = 0.0
        self.cells: dict[int, int] = {}

    def record(self, value: float, times: int = 1) -> None:
        """Count a value, above zero."""
        mantissa, exponent = math.frexp(value)  # value = mantissa * 2 ** exponent, from 0.5 to 1
        cell = exponent * PARTS + int((2 * mantissa - 1) * PARTS)
        self.cells[cell] = self.cells.get(cell, 0) + times
        self.count += times
        self.sum += times * value
        self.largest = max(self.largest, value)

    def copy(self) -> "Histogram":
        """The same counts, which do not change with these."""
        same = Histogram()
        same.count, same.sum, same.largest = self.count, self.sum, self.largest
        same.cells = dict(self.cells)
        return same

    def since(self, earlier: "Histogram") -> "Histogram":
        """What was measured after an earlier copy was made of this."""
        new = Histogram()
        for cell, times in self.cells.items():
            if more := times - earlier.cells.get(cell, 0):
                new.cells[cell] = more
                new.largest = max(new.largest, min(self.largest, _edge(cell + 1)))
        new.count, new.sum = self.count - earlier.count, self.sum - earlier.sum
        return new

    def quantile(self, fraction: float) -> float | None:
        """The value that this fraction of all did not exceed, to 1/32 of itself; None of none."""
        left = math.ceil(fraction * self.count)
        for cell in sorted(self.cells):
            left -= self.cells[cell]
            if left <= 0:
                return min(self.largest, (_edge(cell) + _edge(cell + 1)) / 2)
        return None

    def cumulative(self, first: int, last: int) -> Iterator[tuple[float, int]]:
        """How many values are below each power of two, from ``2 ** first`` to ``2 ** last``."""
        ordered = sorted(self.cells.items())
        place = below = 0
        for exponent in range(first, last + 1):
            end = (exponent + 1) * PARTS
            while place < len(ordered) and ordered[place][0] < end:
                below += ordered[place][1]
                place += 1
            yield 2.0**exponent, below


def _edge(cell: int) -> float:
    """The least value of a cell."""
    exponent, part = divmod(cell, PARTS)
    return math.ldexp((1 + part / PARTS) / 2, exponent)
