"""A connection as the bounds on its messages see it."""

from typing import Protocol


class ClosableConnection(Protocol):
    """A connection that may be closed because of what it sends or leaves unread."""

    def close(self) -> None:
        """Close it; messages that are incomplete or unsent are dropped."""
