"""The last events of a run and what the brain said to each, as a failure shows them."""

from collections import deque

from sire.errors import SireError
from sired.scheduler.entities.model import Model

SHOWN = 15


class Journal:
    """Keeps the last few; puts them into words only when somebody wants to read them."""

    def __init__(self):
        self._entries = deque(maxlen=SHOWN)

    def note(self, now, event, said):
        self._entries.append((now, event, said))

    def __str__(self):
        lines = []
        for now, event, said in self._entries:
            lines.append(f"{now:12.3f}  {_short(event)}")
            lines += [f"{'':12}     → {_short(do)}" for do in said]
        return "\n".join(lines)


def _short(thing):
    """An event or an instruction in a line: models by name, errors by code, nothing empty."""
    values = ((name, getattr(thing, name)) for name in thing.__struct_fields__)
    said = (f"{name}={_word(value)}" for name, value in values if value is not None)
    return f"{type(thing).__name__} {' '.join(said)}"


def _word(value):
    if isinstance(value, Model):
        return value.name
    if isinstance(value, SireError):
        return f"{value.code} ({value.message})"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
