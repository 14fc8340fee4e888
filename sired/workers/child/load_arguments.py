"""The arguments of ``InferenceRuntime.load``."""

from typing import Any

from sire.spec import ModelSpec
from sired.runtimes.arguments import CLASS_ARGUMENTS, LOAD_KEYWORDS


def load_arguments(spec: ModelSpec, kind: str) -> dict[str, Any]:
    """The keyword arguments of ``InferenceRuntime.load`` on a device of that kind."""
    keywords = {
        "device": "cuda:0" if kind == "cuda" else "cpu",
        "format": spec.format,
        "model_class": spec.model_class,
        "python_path": spec.python_path,
        "trusted": spec.trusted,
        "weight_bytes": spec.weight_bytes,
    }
    own = {name: value for name, value in spec.args.items() if name in LOAD_KEYWORDS}
    return {**spec.args, **keywords, **({CLASS_ARGUMENTS: own} if own else {})}
