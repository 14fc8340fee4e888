"""The last events of a run and the instructions for each, as shown on failure."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from sire.errors import SireError
from sired.scheduler.entities.model import Model
from sired.scheduler.events import Event
from sired.scheduler.instructions import Instruction

SHOWN = 15


class Journal:
    """Keeps the last few events; formats them only when they are printed."""

    def __init__(self) -> None:
        self._entries: deque[tuple[float, Event, Sequence[Instruction]]] = deque(maxlen=SHOWN)

    def add(self, now: float, event: Event, instructions: Sequence[Instruction]) -> None:
        self._entries.append((now, event, instructions))

    def __str__(self) -> str:
        lines = []
        for now, event, instructions in self._entries:
            lines.append(f"{now:12.3f}  {_short(event)}")
            lines += [f"{'':12}     → {_short(do)}" for do in instructions]
        return "\n".join(lines)


def _short(thing: Any) -> str:
    """One line for an event or instruction: models by name, errors by code, no empty fields."""
    values = ((name, getattr(thing, name)) for name in thing.__struct_fields__)
    instructions = (f"{name}={_word(value)}" for name, value in values if value is not None)
    return f"{type(thing).__name__} {' '.join(instructions)}"


def _word(value: Any) -> str:
    if isinstance(value, Model):
        return value.name
    if isinstance(value, SireError):
        return f"{value.code} ({value.message})"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
