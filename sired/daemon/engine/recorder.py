"""Writes a recording of the brain's events and instructions to a file (``SIRE_RECORD``)."""

import logging
from collections.abc import Sequence
from pathlib import Path

from sire.errors import DaemonUnavailable
from sired.scheduler.brain import Brain
from sired.scheduler.events import Event
from sired.scheduler.instructions import Instruction
from sired.scheduler.recording import Policies, Recorder
from sired.scheduler.rules import Rules

log = logging.getLogger(__name__)


class FileRecorder:
    """Records to a file until that fails; recording never fails the daemon.

    It writes from the event loop and flushes each line, so that the file of a killed daemon is
    complete. It is for finding faults, not for daily use.

    Args:
        path: of the file, which is replaced.
        brain: as it is before its first event.
        policies: the names of its policies.

    Raises:
        DaemonUnavailable: the path is relative, or the file cannot be opened.
    """

    def __init__(self, path: Path, brain: Brain, policies: Policies) -> None:
        if not path.is_absolute():
            raise DaemonUnavailable(
                f"SIRE_RECORD: {path} is relative, and the daemon has a directory of its own.",
                hint="Give the whole path, as in SIRE_RECORD=$PWD/recording.jsonl",
            )
        try:
            self._file = path.open("w", encoding="utf-8", buffering=1)
        except OSError as problem:
            raise DaemonUnavailable(
                f"SIRE_RECORD: cannot write {path}: {problem.strerror}.",
                hint="Name a file in a directory that exists, or unset SIRE_RECORD.",
            ) from None
        ledger = brain.fleet.ledger
        self._recorder = Recorder(
            self._write, ledger.accounts.values(), brain.rules, policies, ledger.dram.capacity
        )
        log.warning("every event is recorded to %s", path)

    def _write(self, line: str) -> None:
        if self._file.closed:
            return
        try:
            self._file.write(line + "\n")
        except OSError as problem:
            log.error("the recording ends here: %s", problem)  # noqa: TRY400
            self.close()

    def record(self, event: Event, now: float, instructions: Sequence[Instruction]) -> None:
        """Record an event and the instructions that followed."""
        self._recorder.note(event, now, instructions)

    def adopt(self, rules: Rules, policies: Policies) -> None:
        """Record new rules."""
        self._recorder.adopt(rules, policies)

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as problem:
            log.error("the end of the recording is lost: %s", problem)  # noqa: TRY400
