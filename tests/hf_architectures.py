"""The architectures that transformers' auto classes load, as the runtime huggingface stores them.

``python -m tests.hf_architectures`` writes them for the installed version.
"""

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parents[1] / "sired/runtimes/huggingface/architectures.json"


def installed() -> dict[str, Any]:
    """By the name of an auto class, and by the type of a model, the names of its architectures."""
    import transformers
    from transformers.models.auto import modeling_auto

    from sired.runtimes.huggingface.table import TASKS

    classes = {name for task in TASKS.values() for name in (*task.models, *task.on_request)}
    found = {
        name: _by_type(getattr(transformers, name)._model_mapping._model_mapping)
        for name in sorted(classes)
    }
    # Models of AutoModel that take text or pictures only.
    for model_type, names in _by_type(modeling_auto.MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES).items():
        known = found["AutoModel"].setdefault(model_type, [])
        known += [name for name in names if name not in known]
    found["diffusers"] = {"text-to-image": _drawing()}
    found["image"] = _by_type(modeling_auto.MODEL_FOR_IMAGE_MAPPING_NAMES)
    every = {
        kind: _by_type(getattr(modeling_auto, kind))
        for kind in dir(modeling_auto)
        if kind.startswith("MODEL_FOR_") and kind.endswith("_MAPPING_NAMES")
    }
    return {**found, **_without_task(found, every)}


# Classes of models that take text alone.
_TEXT = (
    *("AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoModelForSeq2SeqLM"),
    *("AutoModelForSequenceClassification", "AutoModelForTokenClassification"),
    "AutoModelForQuestionAnswering",
)


def _without_task(found: Any, every: Any) -> dict[str, Any]:
    """The architectures that no task runs, and the types of models that do not take text alone."""
    known = {name for types in found.values() for names in types.values() for name in names}
    other: dict[str, list[str]] = {}
    for types in every.values():
        for model_type, names in types.items():
            listed = other.setdefault(model_type, [])
            listed += [name for name in names if name not in known and name not in listed]
    other = {model_type: sorted(names) for model_type, names in other.items() if names}
    text = {model_type for name in _TEXT for model_type in found[name]}
    text |= set(every["MODEL_FOR_TEXT_ENCODING_MAPPING_NAMES"])
    masks = every["MODEL_FOR_MASK_GENERATION_MAPPING_NAMES"]
    no_text = (other.keys() | masks.keys()) & found["AutoModel"].keys() - text
    return {"other": other, "no_text": {model_type: [] for model_type in no_text}}


def _drawing() -> list[str]:
    """The pipelines of diffusers that make a picture of nothing but a text."""
    from diffusers.pipelines import auto_pipeline

    names = {kind.__name__ for kind in auto_pipeline.AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values()}
    return sorted(name for name in names if "Control" not in name)


def _by_type(mapping: Any) -> dict[str, list[str]]:
    return {
        model_type: [names] if isinstance(names, str) else list(names)
        for model_type, names in mapping.items()
    }


def text() -> str:
    """The content of the file: a line for every type of model."""
    classes = []
    for name, types in installed().items():
        lines = (f"  {json.dumps(kind)}: {json.dumps(types[kind])}" for kind in sorted(types))
        classes.append(f" {json.dumps(name)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(classes) + "\n}\n"


if __name__ == "__main__":
    FILE.write_text(text())
