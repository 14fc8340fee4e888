"""The bytes that inputs of unanswered requests take, and how much of them each client may hold.

1. All inputs together take at most the limit, except that one input is accepted whatever its size
   if there are no others: it would never fit otherwise.
2. A client may hold three quarters of what the inputs of others leave of the limit. So one that is
   alone leaves room for a newcomer, and n clients with many inputs approach equal shares, which
   leave a part of 3n + 1 free.
3. A client that holds no input is limited by rule 1 only.
"""

from collections import Counter


class HeldInputs:
    """Counts the bytes of inputs by client.

    Attributes:
        total: of all clients.
    """

    def __init__(self) -> None:
        self.total = 0
        self._of: Counter[str] = Counter()

    def of(self, client: str) -> int:
        """Bytes of the inputs of a client."""
        return self._of[client]

    def add(self, client: str, size: int) -> None:
        """Count an input."""
        if size:
            self.total += size
            self._of[client] += size

    def remove(self, client: str, size: int) -> None:
        """Count an input no more."""
        if size:
            self.total -= size
            self._of[client] -= size
            if not self._of[client]:
                del self._of[client]

    def share(self, client: str, limit: int) -> int:
        """Bytes that a client may hold at present."""
        own = self._of[client]
        left = max(0, limit - self.total + own)
        return left * 3 // 4 if own else left

    def fits(self, client: str, size: int, limit: int) -> bool:
        """Whether there is room for another input."""
        return not size or not self.total or self._of[client] + size <= self.share(client, limit)
