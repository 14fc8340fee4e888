"""Key bindings: they select, sort and filter models, and start actions on them."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from sire.protocol.replies import TopReport
from sire_cli.top.models import Row, rows_of

HELP = (
    ("↑ ↓, k j", "select a model"),
    ("l, Enter", "load the model"),
    ("u", "unload the model"),
    ("p", "pin the model, so that it stays loaded; or unpin it"),
    ("s", "change the sort order"),
    ("/", "show only models whose names contain a text; Esc shows all"),
    ("? h", "show this help; any key closes it"),
    ("q", "quit"),
)
SORTS: dict[str, Callable[[Row], float]] = {
    "activity": lambda _: 0.0,
    "name": lambda _: 0.0,
    "memory": lambda row: -row.stats.memory_bytes,
    "requests": lambda row: -row.stats.inference_count,
    "p99": lambda row: -(row.stats.p99_latency_seconds or 0.0),
    "errors": lambda row: -sum(row.stats.errors.values()),
}
_SEQUENCE = re.compile(r"\x1b[\[O][0-9;]*[A-Za-z~]|.", re.DOTALL)
_NAMES = {
    "\x1b[A": "up",
    "\x1bOA": "up",
    "k": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "j": "down",
    "\x1b[H": "first",
    "\x1b[F": "last",
    "\r": "l",
    "\n": "l",
    "h": "?",
}
CLOSED = "\x04"


class ModelAction(Enum):
    """An action on the selected model."""

    LOAD = "l"
    UNLOAD = "u"
    PIN = "p"


@dataclass(slots=True)
class Control:
    """The state of the user interface.

    Attributes:
        selected: the model that actions apply to; None if none is selected.
        sort: the sort order, a key of ``SORTS``.
        filter: text that the names of shown models contain.
        typing: whether key presses edit the filter.
        helping: whether the help is shown.
        quit: whether the view is to be closed.
    """

    selected: str | None = None
    sort: str = "activity"
    filter: str = ""
    typing: bool = False
    helping: bool = False
    quit: bool = False

    def rows(self, report: TopReport) -> list[Row]:
        """The models to show, in order."""
        pattern = self.filter.lower()
        rows = [row for row in rows_of(report) if pattern in row.stats.model.lower()]
        if self.sort == "activity":
            return rows
        return sorted(rows, key=lambda row: (SORTS[self.sort](row), row.stats.model))

    def press(self, keys: str, report: TopReport) -> list[ModelAction]:
        """Process key presses; returns the actions to start."""
        actions = [self._key(key, report) for key in _SEQUENCE.findall(keys)]
        return [action for action in actions if action is not None]

    def _key(self, key: str, report: TopReport) -> ModelAction | None:
        if key == CLOSED:
            self.quit = True
        elif self.helping:
            self.helping = False
        elif self.typing:
            self._type(key)
        else:
            return self._command(_NAMES.get(key, key), [r.stats.model for r in self.rows(report)])
        return None

    def _type(self, key: str) -> None:
        if key == "\x1b":
            self.filter, self.typing = "", False
        elif key in "\r\n":
            self.typing = False
        elif key in "\x7f\b":
            self.filter = self.filter[:-1]
        elif key.isprintable():
            self.filter += key

    def _command(self, key: str, models: Sequence[str]) -> ModelAction | None:
        match key:
            case "q" | "Q":
                self.quit = True
            case "?":
                self.helping = True
            case "/":
                self.typing = True
            case "\x1b":
                self.filter, self.selected = "", None
            case "s":
                names = list(SORTS)
                self.sort = names[(names.index(self.sort) + 1) % len(names)]
            case "up" | "down" | "first" | "last":
                self._move(key, models)
            case "l" | "u" | "p" if self.selected in models:
                return ModelAction(key)
        return None

    def _move(self, key: str, models: Sequence[str]) -> None:
        if not models:
            return
        last = len(models) - 1
        if self.selected not in models:
            place = last if key in ("up", "last") else 0
        else:
            at = models.index(self.selected)
            place = {"up": max(0, at - 1), "down": min(last, at + 1), "first": 0, "last": last}[key]
        self.selected = models[place]

    @property
    def footer(self) -> str:
        """The last line: the keys that apply now."""
        if self.typing:
            return f"filter: {self.filter}▏  Enter applies · Esc shows all"
        shown = f"/ {self.filter}" if self.filter else "/ filter"
        actions = "l load · u unload · p pin" if self.selected else "↑↓ select"
        return f"{actions} · s sort: {self.sort} · {shown} · ? help · q quit"
