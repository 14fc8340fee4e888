"""What is declared of one option of a model."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from sire.errors import SireError
from sire.spec import ModelSpec
from sire.values import SWITCH, Kind

Setter = Literal["cli", "yaml", "python", "defaults"]
"""Where an option may be set: the command line, a YAML file, Python, or ``[defaults]``."""

ANYWHERE: frozenset[Setter] = frozenset({"cli", "yaml", "python", "defaults"})
PER_MODEL: frozenset[Setter] = frozenset({"cli", "yaml", "python"})
# Whether code in a model's file may run is decided by the caller, never by a file.
BY_CALLER: frozenset[Setter] = frozenset({"cli", "python"})

_BLANK = ModelSpec(name="", path="")


@dataclass(frozen=True)
class ModelOption:
    """One option.

    Attributes:
        name: in Python, in YAML and in ``[defaults]``.
        field: the attribute of ``ModelSpec`` that holds it; dotted where it is nested.
        kind: how its value is read, checked and written.
        metavar: the placeholder for its value in help; "" for a switch.
        group: the heading that it has in help.
        label: its name in the output of ``sire show``.
        help: what it does, in one sentence that ends with a full stop.
        settable: who may set it.
        option: its name on the command line; "" for ``--`` and the name.
        repeatable: whether the command line takes it several times.
        always_shown: whether ``sire show`` prints it when it has its default.
        also: other names it has in YAML files, each with the kind of value it takes.
    """

    name: str
    field: str
    kind: Kind
    metavar: str
    group: str
    label: str
    help: str
    settable: frozenset[Setter] = PER_MODEL
    option: str = ""
    repeatable: bool = False
    always_shown: bool = False
    also: tuple[tuple[str, Kind], ...] = ()

    @property
    def flag(self) -> str:
        """The option on the command line, such as ``--keep-alive``."""
        return self.option or f"--{self.name.replace('_', '-')}"

    @property
    def switch(self) -> bool:
        """Whether it is either on or off."""
        return self.kind is SWITCH

    @cached_property
    def default(self) -> Any:
        """The value that a model has if the option is not given; None or empty for no value."""
        return self.value_in(_BLANK)

    @property
    def default_text(self) -> str:
        """The default as text that ``kind.read`` accepts; "" for no value."""
        return "" if self.default in (None, (), {}) else self.kind.write(self.default)

    def value_in(self, spec: ModelSpec) -> Any:
        """The value that a model has."""
        value: Any = spec
        for part in self.field.split("."):
            value = value.get(part) if isinstance(value, dict) else getattr(value, part)
        return value

    def read(self, given: Any, place: str = "") -> Any:
        """The value that was given, checked.

        Args:
            given: text, or a value from YAML, TOML or Python.
            place: what to call the option in an error; "" for its name.

        Raises:
            InvalidConfiguration: the value is not of the option's kind.
            InvalidModel: an input does not describe a tensor, or an argument cannot be encoded.
        """
        try:
            return self.kind.read(given)
        except SireError as problem:
            raise type(problem)(
                f"{place or self.name}: {problem.message}", hint=problem.hint
            ) from None
