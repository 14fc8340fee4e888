"""Lines of the daemon's log: JSON in the file, words where people read them."""

from datetime import datetime

import msgspec

# Besides the daemon itself, who may have something to say.
SCHEDULER = "scheduler"


class LogLine(msgspec.Struct, frozen=True):
    """One thing that happened; it carries no data of requests.

    Attributes:
        time: when, with its time zone.
        level: debug, info, warning, error or critical.
        component: who says it: daemon, scheduler, server, store, or worker and a model's name.
        message: what happened.
        model: which model it is about; "" for none.
        traceback: where an unexpected error was raised; "" for none.
    """

    time: datetime
    level: str
    component: str
    message: str
    model: str = ""
    traceback: str = ""

    def words(self) -> str:
        """The line for people, with the time of this place."""
        when = self.time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        said = f"{when} {self.level:<7} {self.component}: {self.message}"
        return "\n".join(filter(None, (said, self.traceback)))


def read_line(text: bytes) -> LogLine | None:
    """A line of the file; None if it is none."""
    try:
        return msgspec.json.decode(text, type=LogLine)
    except ValueError:
        return None
