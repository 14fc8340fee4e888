"""Times in answers."""

from datetime import UTC, datetime


def iso(seconds: float) -> str:
    """A time of ISO 8601, from seconds since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
