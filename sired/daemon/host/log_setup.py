"""Where the daemon's log goes, and in what format.

It always goes to a file, as JSON lines; a full file is rotated and a few are kept. It also goes to
standard error: with syslog priorities where the journal reads it (sd-daemon(3)), otherwise as
text. A background daemon's standard error is a file of its own, for unexpected output only: the
log is not repeated there.

This is the standard library's logging. structlog takes 0.15 s to import, more than the rest of a
start, because it imports rich to colour tracebacks.
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
from sire.printable import printable
from sire.protocol.log_lines import SCHEDULER, LogLine

MAX_BYTES = 10 * 1024 * 1024
FILES_KEPT = 3
# syslog(3): error, warning, informational, debug.
ERROR_PRIORITY = 3
_PRIORITIES = (
    (logging.ERROR, ERROR_PRIORITY),
    (logging.WARNING, 4),
    (logging.INFO, 6),
    (logging.NOTSET, 7),
)

# The `extra` of a record about a decision of the brain.
BY_SCHEDULER: Mapping[str, Any] = {"component": SCHEDULER}


def of_worker(model: str) -> dict[str, Any]:
    """The ``extra`` of a record about a model's process."""
    return {"component": f"worker {model}", "model": model}


def read_by_journal(environment: Mapping[str, str]) -> bool:
    """Whether the journal reads this process's standard error (``JOURNAL_STREAM``)."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        stream = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError, AttributeError):  # closed
        return False
    return (device, inode) == (str(stream.st_dev), str(stream.st_ino))


def start_logging(paths: Paths, level: str, *, journal: bool) -> None:
    """Start logging; the directory of the log file must exist."""
    file = RotatingFileHandler(
        paths.daemon_log, maxBytes=MAX_BYTES, backupCount=FILES_KEPT, delay=True, encoding="utf-8"
    )
    file.setFormatter(_JsonFormatter())
    handlers: list[logging.Handler] = [file]
    if journal or not _has_output_file(paths):
        stderr = logging.StreamHandler()
        stderr.setFormatter(_JournalFormatter() if journal else _TextFormatter())
        handlers.append(stderr)
    # A log that cannot be written would print a traceback for every record.
    logging.raiseExceptions = False
    logging.basicConfig(level=level.upper(), handlers=handlers)


def prioritised(text: str, priority: int) -> str:
    """Prefix each line with its priority, as the journal expects it."""
    return "\n".join(f"<{priority}>{line}" for line in text.splitlines())


def _has_output_file(paths: Paths) -> bool:
    """Whether standard error is the output file of a background daemon."""
    try:
        return os.path.samestat(paths.daemon_output.stat(), os.fstat(sys.stderr.fileno()))
    except (OSError, ValueError, AttributeError):
        return False


class _TextFormatter(logging.Formatter):
    """Lines for people."""

    def format(self, record: logging.LogRecord) -> str:
        return self.line(record).text()

    def line(self, record: logging.LogRecord) -> LogLine:
        """Convert a record to a log line."""
        return LogLine(
            datetime.fromtimestamp(record.created, UTC),
            record.levelname.lower(),
            getattr(record, "component", None) or _component(record.name),
            record.getMessage(),
            getattr(record, "model", ""),
            self.formatException(record.exc_info) if record.exc_info else "",
        )


class _JsonFormatter(_TextFormatter):
    """Lines for programs."""

    def format(self, record: logging.LogRecord) -> str:
        return msgspec.json.encode(self.line(record)).decode()


class _JournalFormatter(_TextFormatter):
    """Lines for the journal, which records the time itself."""

    def format(self, record: logging.LogRecord) -> str:
        line = self.line(record)
        priority = next(number for least, number in _PRIORITIES if record.levelno >= least)
        text = "\n".join(filter(None, (f"{line.component}: {line.message}", line.traceback)))
        return prioritised(printable(text), priority)


def _component(logger: str) -> str:
    """The room of sired that a logger is named after; others' loggers keep their names."""
    package, *rooms = logger.split(".")
    if package != "sired":
        return logger
    match rooms:
        case ["daemon", "handlers", subject, *_] | ["daemon", subject, _, *_]:
            return subject
        case [room, *_]:
            return room
    return "daemon"
