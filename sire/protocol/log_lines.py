"""Lines of the daemon's log: JSON in the file, plain text on a terminal."""

from datetime import datetime

import msgspec

from sire.printable import printable

# A component besides the daemon itself.
SCHEDULER = "scheduler"
LEVELS = ("debug", "info", "warning", "error", "critical")
# The length of "2026-01-31 12:00:00.000": the time without its zone.
_MILLISECONDS = 23


class LogLine(msgspec.Struct, frozen=True):
    """One event; it contains no data of requests.

    Attributes:
        time: when it happened, with its time zone.
        level: debug, info, warning, error or critical.
        component: the part of the daemon, such as scheduler, engine, models, jobs, requests or
            server; or worker and a model's name.
        message: what happened.
        model: the model concerned; "" for none.
        traceback: of an unexpected error; "" for none.
    """

    time: datetime
    level: str
    component: str
    message: str
    model: str = ""
    traceback: str = ""

    def text(self) -> str:
        """The line as plain text, with local time."""
        when = self.time.astimezone().isoformat(" ", "milliseconds")[:_MILLISECONDS]
        line = f"{when} {self.level:<7} {self.component}: {self.message}"
        return printable("\n".join(filter(None, (line, self.traceback))))


def read_line(text: bytes) -> LogLine | None:
    """A line of the file; None if it is not a log line."""
    try:
        return msgspec.json.decode(text, type=LogLine)
    except ValueError:
        return None
