"""Where the daemon's log goes, and in what form.

Always to a file, as JSON lines; it is begun anew when it is full, and some are kept. And to
standard error, for whoever looks: with the priorities of syslog where the journal reads it
(sd-daemon(3)), else in words. A daemon in the background has standard error in a file of its own:
what goes there is what nobody expected, and the log is not repeated in it.

This is the standard library's logging: structlog takes 0.15 s to import, more than all the rest of
a start, for it brings rich to show tracebacks in colour.
"""

import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from typing import Any

import msgspec

from sire.paths import Paths
from sire.protocol.log_lines import SCHEDULER, LogLine

LARGEST_BYTES = 10 * 1024 * 1024
KEPT = 3
# syslog(3): error, warning, informational, debug.
ERROR_PRIORITY = 3
_PRIORITIES = (
    (logging.ERROR, ERROR_PRIORITY),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)

# For the `extra` of a record that tells what the brain decided.
DECIDED: Mapping[str, Any] = {"component": SCHEDULER}


def of_worker(model: str) -> dict[str, Any]:
    """The ``extra`` of a record about a model's process."""
    return {"component": f"worker {model}", "model": model}


def read_by_journal(environment: Mapping[str, str]) -> bool:
    """Whether the journal reads what we write to standard error (``JOURNAL_STREAM``)."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        there = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # closed
        return False
    return (device, inode) == (str(there.st_dev), str(there.st_ino))


def start_logging(paths: Paths, level: str, *, journal: bool) -> None:
    """Log from now on; the directory of the log must be there."""
    file = RotatingFileHandler(
        paths.daemon_log, maxBytes=LARGEST_BYTES, backupCount=KEPT, delay=True, encoding="utf-8"
    )
    file.setFormatter(_JsonLines())
    handlers: list[logging.Handler] = [file]
    if journal or not _own_output(paths):
        shown = logging.StreamHandler()
        shown.setFormatter(_ForJournal() if journal else _TextFormatter())
        handlers.append(shown)
    # What a log that cannot be written would print of itself is of no use to anybody.
    logging.raiseExceptions = False
    logging.basicConfig(level=level.upper(), handlers=handlers)


def prioritised(text: str, priority: int) -> str:
    """Lines for the journal, each with its priority in front."""
    return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


def _own_output(paths: Paths) -> bool:
    """Whether standard error is the file that a daemon in the background has."""
    try:
        return os.path.samestat(paths.daemon_output.stat(), os.fstat(sys.stderr.fileno()))
    except (OSError, ValueError, AttributeError):
        return False


class _TextFormatter(logging.Formatter):
    """Lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        return self.line(record).text()

    def line(self, record: logging.LogRecord) -> LogLine:
        """What a record says."""
        return LogLine(
            datetime.fromtimestamp(record.created, UTC),
            record.levelname.lower(),
            getattr(record, "component", None) or _component(record.name),
            record.getMessage(),
            getattr(record, "model", ""),
            self.formatException(record.exc_info) if record.exc_info else "",
        )


class _JsonLines(_TextFormatter):
    """Lines for programs."""

    def format(self, record: logging.LogRecord) -> str:
        return msgspec.json.encode(self.line(record)).decode()


class _ForJournal(_TextFormatter):
    """Lines for the journal, which knows the time by itself."""

    def format(self, record: logging.LogRecord) -> str:
        line = self.line(record)
        priority = next(number for least, number in _PRIORITIES if record.levelno >= least)
        said = "\n".join(filter(None, (f"{line.component}: {line.message}", line.traceback)))
        return prioritised(said, priority)


def _component(logger: str) -> str:
    """The room of the house that a logger is named after; other people's keep their names."""
    house, _, room = logger.partition(".")
    return room.partition(".")[0] or "daemon" if house == "sired" else logger
