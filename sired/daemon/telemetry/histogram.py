"""A histogram of measured values with cells of constant relative width."""

import math
from collections.abc import Iterator

# Cells per power of two: a value is known to 1/16 of itself, as in HdrHistogram.
PARTS = 16


class Histogram:
    """How often values of each size were measured, in little memory for any number of values.

    Attributes:
        count: number of values.
        sum: their sum.
        largest: the largest of them.
        cells: number of values by cell; each power of two has ``PARTS`` cells.
    """

    __slots__ = ("cells", "count", "largest", "sum")

    def __init__(self) -> None:
        self.count = 0
        self.sum = 0.0
        self.largest = 0.0
        self.cells: dict[int, int] = {}

    def record(self, value: float, times: int = 1) -> None:
        """Count a value, which must be positive, N times."""
        mantissa, exponent = math.frexp(value)  # value = mantissa * 2 ** exponent, from 0.5 to 1
        cell = exponent * PARTS + int((2 * mantissa - 1) * PARTS)
        self.cells[cell] = self.cells.get(cell, 0) + times
        self.count += times
        self.sum += times * value
        self.largest = max(self.largest, value)

    def copy(self) -> "Histogram":
        """An independent copy."""
        same = Histogram()
        same.count, same.sum, same.largest = self.count, self.sum, self.largest
        same.cells = dict(self.cells)
        return same

    def since(self, earlier: "Histogram") -> "Histogram":
        """The values recorded since an earlier copy was made."""
        new = Histogram()
        for cell, times in self.cells.items():
            if more := times - earlier.cells.get(cell, 0):
                new.cells[cell] = more
                new.largest = max(new.largest, min(self.largest, _edge(cell + 1)))
        new.count, new.sum = self.count - earlier.count, self.sum - earlier.sum
        return new

    def quantile(self, fraction: float) -> float | None:
        """The value that a fraction of all did not exceed, to 1/32 of itself; None if empty."""
        left = math.ceil(fraction * self.count)
        for cell in sorted(self.cells):
            left -= self.cells[cell]
            if left <= 0:
                return min(self.largest, (_edge(cell) + _edge(cell + 1)) / 2)
        return None

    def cumulative(self, first: int, last: int) -> Iterator[tuple[float, int]]:
        """The number of values below each power of two, from ``2 ** first`` to ``2 ** last``."""
        ordered = sorted(self.cells.items())
        place = below = 0
        for exponent in range(first, last + 1):
            end = (exponent + 1) * PARTS
            while place < len(ordered) and ordered[place][0] < end:
                below += ordered[place][1]
                place += 1
            yield 2.0**exponent, below


def _edge(cell: int) -> float:
    """The lower bound of a cell."""
    exponent, part = divmod(cell, PARTS)
    return math.ldexp((1 + part / PARTS) / 2, exponent)
