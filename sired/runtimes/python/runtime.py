"""Runs a class of the user's own that can load and predict, whatever its framework."""

import inspect
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from sire.errors import InvalidModel
from sire.spec import Signature, parse_tensor
from sired.runtimes.arguments import own_arguments
from sired.runtimes.base import InferenceRuntime
from sired.runtimes.python.traits import SOURCE
from sired.runtimes.support.classes import (
    check_constructor,
    construct,
    find_class,
    import_module,
)
from sired.runtimes.support.inputs import Arguments, parameters_of
from sired.runtimes.support.state import marks_of


@dataclass(frozen=True, slots=True)
class PythonModel:
    """An object of the user's class that has loaded its model, and what is known about it."""

    model: Any
    arrange: Callable[[Any], Arguments]
    weight_bytes: int
    signature: Signature


class PythonRuntime(InferenceRuntime):
    """Runs a class with the methods ``load`` and ``predict``.

    The class is the user's own code, specified when the model was registered, so it needs no trust.
    What its ``load`` does with the file, such as unpickling it, is up to the class. It is
    constructed with the model's ``args``. It may also have:

    - ``inputs`` and ``outputs``: its signature, like ``["float32[-1,4]"]``; inputs are checked
      against it before ``predict`` is called.
    - ``stream(data)``: like ``predict``, but yields the output in parts.
    - ``estimate(path)``: the bytes of device memory that ``load`` will allocate, without loading;
      otherwise the size of its file is used until it has been loaded once.
    - ``warmup()``: called once after loading.
    - ``sleep()`` and ``wake()``: move the weights from the device to main memory, and back.
    """

    def load(self, model_path: str, **kwargs: Any) -> PythonModel:
        """Construct the class and have it load; see ``InferenceRuntime.load``.

        Its ``load`` gets the path, and ``device`` by keyword if it has such a parameter. Without a
        path it gets none if it need not have one, else "".
        """
        size = kwargs.get("weight_bytes") or (Path(model_path).stat().st_size if model_path else 0)
        model = _make(model_path, kwargs)
        parameters = inspect.signature(model.load).parameters
        device = {"device": kwargs.get("device", "cpu")} if "device" in parameters else {}
        model.load(*_place(model_path, parameters), **device)
        return PythonModel(model, parameters_of(model.predict).arrange, size, _signature(model))

    def check_arguments(self, model_path: str, **kwargs: Any) -> None:
        """Ensure that the constructor of the class takes the model's arguments."""
        check_constructor(_find_class(model_path, kwargs), own_arguments(kwargs))

    def estimate(self, model_path: str, **kwargs: Any) -> int | None:
        """The size that the class reports; None if it has no ``estimate``."""
        model = _make(model_path, kwargs)
        if not callable(estimate := getattr(model, "estimate", None)):
            return None
        return int(estimate(model_path))

    def predict(self, model: PythonModel, data: Any) -> Any:
        """Call the class's ``predict``; see ``InferenceRuntime.predict``.

        A dict is passed by keyword if ``predict`` has parameters of these names, a tuple by
        position, anything else as the only argument.
        """
        args, kwargs = model.arrange(data)
        return model.model.predict(*args, **kwargs)

    def stream(self, model: PythonModel, data: Any) -> Generator[Any, None, None]:
        """Call the class's ``stream``, or else ``predict``; see ``InferenceRuntime.stream``."""
        if not callable(stream := getattr(model.model, "stream", None)):
            yield self.predict(model, data)
            return
        args, kwargs = parameters_of(stream).arrange(data)
        yield from stream(*args, **kwargs)

    def get_memory_footprint(self, model: PythonModel) -> int:
        """The size of its file: only the class knows what it allocates."""
        return model.weight_bytes

    def signature(self, model: PythonModel) -> Signature:
        """The ``inputs`` and ``outputs`` of the class."""
        return model.signature

    def state(self, model: PythonModel) -> Any:
        """The attributes of the class's object."""
        return marks_of(model.model)

    def warmup(self, model: PythonModel) -> None:
        """Call the class's ``warmup``, if it has one."""
        if callable(warmup := getattr(model.model, "warmup", None)):
            warmup()

    def can_sleep(self, model: PythonModel) -> bool:
        """Whether the class has ``sleep`` and ``wake``."""
        return all(callable(getattr(model.model, name, None)) for name in ("sleep", "wake"))

    def sleep(self, model: PythonModel) -> None:
        """Have the class release the device's memory."""
        model.model.sleep()

    def wake(self, model: PythonModel) -> int:
        """Have the class allocate it again; the main memory that it keeps is not known."""
        model.model.wake()
        return 0


def _place(path: str, parameters: Mapping[str, inspect.Parameter]) -> tuple[str, ...]:
    """The path as the arguments of ``load``."""
    if path:
        return (path,)
    needed = any(
        one.default is one.empty and one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}
        for name, one in parameters.items()
        if name != "device"
    )
    return ("",) if needed else ()


def _make(path: str, given: Mapping[str, Any]) -> Any:
    """An object of the user's class, constructed with the model's own arguments."""
    return construct(_find_class(path, given), own_arguments(given))


def _find_class(path: str, given: Mapping[str, Any]) -> type:
    name, python_path = given.get("model_class"), given.get("python_path", ())
    kind = _class_in(path) if name is None else find_class(name, python_path)
    _require_methods(kind)
    return kind


def _class_in(path: str) -> type:
    """The one class in a Python file that can load and predict."""
    if not path.endswith(SOURCE):
        raise InvalidModel(
            f"No class is given to load {path}.",
            hint="Specify it: sire register --replace --class file.py:Class",
        )
    module = import_module(path)
    fitting = [kind for kind in _own_classes(module) if not _missing(kind)]
    if len(fitting) != 1:
        names = ", ".join(kind.__name__ for kind in fitting) or "none"
        raise InvalidModel(
            f"{path} must define exactly one class with load and predict (found: {names}).",
            hint=f"Specify it: sire register --replace --class {path}:Class",
        )
    return fitting[0]


def _own_classes(module: ModuleType) -> list[type]:
    kinds = (value for value in vars(module).values() if isinstance(value, type))
    return [kind for kind in kinds if kind.__module__ == module.__name__]


def _missing(kind: type) -> list[str]:
    return [name for name in ("load", "predict") if not callable(getattr(kind, name, None))]


def _require_methods(kind: type) -> None:
    if missing := _missing(kind):
        raise InvalidModel(
            f"The class {kind.__name__} has no method {' and no '.join(missing)}.",
            hint="It needs load(self, path) and predict(self, data).",
        )


def _signature(model: Any) -> Signature:
    sides: Mapping[str, Any] = {
        side: tuple(map(parse_tensor, getattr(model, side, ()))) for side in ("inputs", "outputs")
    }
    return Signature(**sides)
