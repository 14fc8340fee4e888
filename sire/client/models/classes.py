"""References to a class, for the worker that instantiates it."""

import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ClassReference:
    """A class by name, the directories it is imported from, and its pickle if it has no name."""

    name: str
    python_path: tuple[str, ...] = ()
    pickle: bytes | None = None


def refer_to(model_class: type) -> ClassReference:
    """Refer to a class so that another process can import or unpickle it.

    Classes of ``__main__``, of notebooks and inside functions cannot be imported elsewhere; they
    are pickled by value.
    """
    file = getattr(sys.modules.get(model_class.__module__), "__file__", None)
    if model_class.__module__ == "__main__" or file is None or "<" in model_class.__qualname__:
        return _by_value(model_class)
    name = f"{model_class.__module__}:{model_class.__qualname__}"
    if _is_installed(file):
        return ClassReference(name)
    return ClassReference(name, (str(_import_root(model_class.__module__, Path(file))),))


def _by_value(model_class: type) -> ClassReference:
    # Imported here, because few programs need it.
    import cloudpickle  # noqa: PLC0415

    script = getattr(sys.modules["__main__"], "__file__", None)
    helpers_from = Path(script).absolute().parent if script else Path.cwd()
    return ClassReference("pickle:", (str(helpers_from),), cloudpickle.dumps(model_class))


def _is_installed(file: str) -> bool:
    path = Path(file).resolve()
    return any(
        path.is_relative_to(Path(sysconfig.get_path(kind)).resolve())
        for kind in ("purelib", "platlib", "stdlib")
    )


def _import_root(module: str, file: Path) -> Path:
    """The directory from which ``import module`` finds this file."""
    levels = module.count(".") + (file.name == "__init__.py")
    return file.resolve().parents[levels]
