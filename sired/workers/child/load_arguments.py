"""The arguments of ``InferenceRuntime.load``."""

from typing import Any

from sire.spec import ModelSpec


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
    return {**spec.args, **keywords}
