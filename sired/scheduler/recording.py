"""A log of what the brain was told and what it instructed, as lines of JSON.

The first line describes the brain: its devices, rules and policies by name. Each further line holds
one event, the time, and the instructions that followed; or new rules. ``replay`` feeds the same
events to a fresh brain and compares.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import msgspec

from sire.errors import SireError, error_from
from sired.scheduler import events
from sired.scheduler.brain import Brain
from sired.scheduler.entities.ledger import Account
from sired.scheduler.entities.model import Model
from sired.scheduler.events import Event
from sired.scheduler.instructions import Instruction
from sired.scheduler.policies.eviction import Policy
from sired.scheduler.policies.placement import Strategy
from sired.scheduler.policies.routing import Router
from sired.scheduler.rules import Rules

# Of a model only what its registration states: the brain makes the rest.
_STATED = (
    *("name", "device", "declared", "weights", "learned", "keep_alive", "pinned", "priority"),
    *(
        "everything",
        "group",
        "process",
        "weight",
        "min_instances",
        "max_instances",
        "batch_size",
        "batch_delay",
        "concurrency",
        "pipelined",
    ),
)
_EVENTS = {kind.__name__: kind for kind in events.Event.__args__}


@dataclass(frozen=True, slots=True)
class Policies:
    """Names of the policies a brain decides by, as the settings give them."""

    placement: str
    routing: str
    eviction: str


Resolve = Callable[[Policies], tuple[Strategy, Router, Policy]]


class Recorder:
    """Writes a recording.

    Args:
        write: takes one line, without its newline.
        devices: the brain's accounts, before any event.
        rules: the rules it starts with.
        policies: the names of its policies.
        dram: bytes of main memory in which models may sleep.
    """

    def __init__(
        self,
        write: Callable[[str], None],
        devices: Iterable[Account],
        rules: Rules,
        policies: Policies,
        dram: int,
    ) -> None:
        self._write = write
        described = [
            [account.name, account.kind, account.capacity, account.bounded_by]
            for account in devices
        ]
        self._line(devices=described, dram=dram, **_described(rules, policies))

    def note(self, event: Event, now: float, instructions: Sequence[Instruction]) -> None:
        """Record an event that was handled at ``now`` and the instructions that followed."""
        self._line(event=plain(event), now=now, instructions=list(map(plain, instructions)))

    def adopt(self, rules: Rules, policies: Policies) -> None:
        """Record that the brain decides by these rules and policies from now on."""
        self._line(**_described(rules, policies))

    def _line(self, **content: Any) -> None:
        self._write(json.dumps(content, separators=(",", ":")))


def plain(message: Event | Instruction) -> list[Any]:
    """An event or instruction as JSON can hold it: its kind and its fields."""
    given = {name: _plain(getattr(message, name)) for name in message.__struct_fields__}
    return [type(message).__name__, given]


def _plain(value: Any) -> Any:
    match value:
        case Model():
            return {name: _plain(getattr(value, name)) for name in _STATED}
        case SireError():
            return [value.code, value.message, value.hint, value.details]
        case tuple():
            return list(value)
        case frozenset():
            return sorted(value)
    return value


def _described(rules: Rules, policies: Policies) -> dict[str, Any]:
    given = {
        field.name: getattr(rules, field.name)
        for field in fields(rules)
        if field.name != "eviction"
    }
    return {"rules": given, "policies": asdict(policies)}


def read_event(recorded: Sequence[Any]) -> Event:
    """An event from what ``plain`` made of it.

    Raises:
        KeyError: the kind is not known: another version wrote it.
        TypeError: its fields are those of another version.
    """
    kind, given = recorded
    restored = {name: _restored(name, value) for name, value in given.items()}
    event: Event = _EVENTS[kind](**restored)
    return event


def _restored(name: str, value: Any) -> Any:
    if name == "model" and isinstance(value, dict):
        return Model(**value)
    if name == "error" and value is not None:
        return error_from(*value)
    if name in {"lost", "silent", "kept"}:
        return frozenset(value)
    return value


@dataclass(slots=True)
class Step:
    """One recorded event: its line number, its time, and the instructions that followed it."""

    line: int
    event: Event
    now: float
    recorded: list[Any]


class Recording:
    """A recording that is read line by line.

    Args:
        lines: of the file.
        resolve: finds the policies by their names.

    Attributes:
        brain: a fresh brain as the first line describes it. It adopts new rules as the steps are
            iterated over, and handles nothing by itself.

    Raises:
        ValueError: the first line does not describe a brain.
    """

    def __init__(self, lines: Iterable[str], resolve: Resolve) -> None:
        self._lines = iter(lines)
        self._resolve = resolve
        first = json.loads(next(self._lines, "{}"))
        if "devices" not in first:
            raise ValueError("The first line does not describe a brain: this is not a recording.")
        accounts = [
            Account(name, kind, capacity, bounded_by=bound)
            for name, kind, capacity, bound in first["devices"]
        ]
        strategy, router, rules = self._rules(first)
        self.brain = Brain(accounts, strategy, rules, router, first["dram"])

    def _rules(self, described: dict[str, Any]) -> tuple[Strategy, Router, Rules]:
        strategy, router, eviction = self._resolve(Policies(**described["policies"]))
        return strategy, router, Rules(**described["rules"], eviction=eviction)

    def steps(self) -> Iterable[Step]:
        """The recorded events, in order. A last line that was cut short is passed over."""
        for number, line in enumerate(self._lines, start=2):
            try:
                content = json.loads(line)
            except ValueError:  # the daemon was killed while it wrote this line
                return
            if "event" in content:
                event = read_event(content["event"])
                yield Step(number, event, content["now"], content["instructions"])
            else:
                strategy, router, rules = self._rules(content)
                self.brain.adopt(rules, strategy, router)


def difference(step: Step, instructions: Sequence[Instruction]) -> str:
    """How the instructions differ from the recorded ones; "" if they are equal."""
    # Through JSON, as the recorded ones came: tuples are lists there, and keys are strings.
    given = json.loads(json.dumps(list(map(plain, instructions))))
    if given == step.recorded:
        return ""
    event = msgspec.json.encode(plain(step.event)).decode()
    return f"line {step.line}: after {event}\n  recorded {step.recorded}\n  replayed {given}"
