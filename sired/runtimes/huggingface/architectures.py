"""Determines the task of a model by its config.json, without importing transformers.

``architectures.json`` has the architectures that transformers' ``AutoModelFor…`` classes load, by
the class and the type of the model; below ``other`` those that no task runs, and below ``no_text``
the types that do not take text alone. ``python -m tests.hf_architectures`` writes it; a test
compares it with the installed version.
"""

import importlib.util
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sire.errors import InvalidModel
from sire.json_file import read_json
from sire.model_directory import ADAPTER, PIPELINE, is_adapter, model_directory
from sired.runtimes.huggingface.table import (
    TASKS,
    TRANSLATION,
    TaskTraits,
    supported_tasks,
    task_named,
)
from sired.runtimes.huggingface.tokenizer_file import check_tokenizer

# Tasks by the type that PEFT states for an adapter.
_ADAPTED = {
    "SEQ_CLS": "text-classification",
    "TOKEN_CLS": "token-classification",
    "QUESTION_ANS": "question-answering",
    "CAUSAL_LM": "text-generation",
    "SEQ_2_SEQ_LM": "text2text-generation",
    "FEATURE_EXTRACTION": "embeddings",
}
# Tasks that share their architectures with others, and are run only if they are asked for.
_ON_REQUEST = {
    *("text-ranking", "zero-shot-classification", "feature-extraction"),
    *("summarization", "translation"),
}
# Files, as patterns, that a tokenizer or a processor of pictures or sound is read from.
_TOKENIZERS: tuple[str, ...] = (
    "*tokenizer*",
    "vocab*",
    "*vocab.*",
    "*.model",
    "*.spm",
    "merges.txt",
)
_PROCESSORS: tuple[str, ...] = ("*processor_config.json",)
# Models that describe a picture without being asked about it.
_CAPTIONS = "image-to-text"
_IMAGES = "image-feature-extraction"
_CAPTIONERS = {"vision-encoder-decoder", "blip", "blip-2", "git", "pix2struct"}


def choose_task(wanted: str, root: Path, arguments: Mapping[str, Any]) -> TaskTraits:
    """The task that a model is run for.

    Args:
        wanted: the argument ``task``; "" for what the config states.
        root: the model's directory.
        arguments: the model's; ``base`` is where the base of an adapter lies.

    Raises:
        InvalidModel: the task does not exist, or the architecture is not one that it runs, or is
            not one that any task runs.
    """
    if (root / PIPELINE).is_file():
        return _drawing_task(wanted, root)
    directory = model_directory(root, arguments)
    config = read_json(directory / "config.json")
    if is_adapter(root):
        adapted = str(read_json(root / ADAPTER).get("task_type"))
        if not wanted and adapted in _ADAPTED:
            return TASKS[_ADAPTED[adapted]]
        if wanted:  # the adapter may have weights of the task that the base lacks
            return task_named(wanted)
    if wanted:
        task = task_named(wanted)
        _check(task, config, root)
        if task.name == "translation":
            _check_languages(wanted, config, root)
        if task.name == "zero-shot-classification":
            _check_entailment(config, root)
        return task
    if (root / "modules.json").is_file():
        return TASKS["embeddings"]
    names = architectures_in(config)
    found = [task for task in TASKS.values() if _is_default(task, names, config, directory)]
    if not found:
        raise InvalidModel(_not_supported(names, root), hint=_hint(config))
    return found[0]


def _drawing_task(wanted: str, root: Path) -> TaskTraits:
    """The task of a pipeline of diffusers.

    Raises:
        InvalidModel: it does not make pictures of texts, or another task is wanted.
    """
    task = TASKS["text-to-image"]
    name = str(read_json(root / PIPELINE).get("_class_name"))
    known = _known()["diffusers"]["text-to-image"]
    if name not in known:
        raise InvalidModel(
            f"{root} is a {name}, which does not make pictures of texts alone.",
            hint=f"Supported pipelines are: {', '.join(known)}.",
        )
    if wanted and task_named(wanted) is not task:
        raise InvalidModel(f"{root} is a {name}, which is run for the task {task.name} only.")
    return task


def check_packages(root: Path) -> None:
    """Reject a directory if the package that reads it is not installed.

    Raises:
        InvalidModel: it is not; the hint has the command that installs it.
    """
    needed = "diffusers" if (root / PIPELINE).is_file() else "peft" if is_adapter(root) else ""
    if needed and importlib.util.find_spec(needed) is None:
        kind = "a pipeline of diffusers" if needed == "diffusers" else "an adapter"
        raise InvalidModel(
            f"{root} is {kind}, and {needed} is not installed.",
            hint=f"Install it into the daemon's Python: pip install 'sire[{needed}]'",
        )


def check_files(task: TaskTraits, root: Path, arguments: Mapping[str, Any]) -> None:
    """Reject a model without the tokenizer or processor that its task requires.

    Raises:
        InvalidModel: the directory lacks it, or its tokenizer.json is damaged.
    """
    if task.name == "text-to-image":
        return
    directory = directory_beside(root, arguments)
    takes_text = task.takes in {"texts", "prompts", "pairs"}
    if takes_text or "text" in task.fields or "question" in task.fields:
        needed, patterns = "tokenizer", _TOKENIZERS
    elif task.takes == "sound":
        needed, patterns = "feature extractor", _PROCESSORS
    else:
        needed, patterns = "image processor", _PROCESSORS
    if not _has_any(directory, patterns):
        raise InvalidModel(
            f"{directory} has no {needed}, which the task {task.name} requires.",
            hint="Save it beside the model, by its save_pretrained.",
        )
    if needed == "tokenizer":
        check_tokenizer(directory / "tokenizer.json")


def directory_beside(root: Path, arguments: Mapping[str, Any]) -> Path:
    """The directory with the tokenizer and the processors: an adapter's own, or its base's."""
    if is_adapter(root) and _has_any(root, (*_TOKENIZERS, *_PROCESSORS)):
        return root
    return model_directory(root, arguments)


def _has_any(directory: Path, patterns: tuple[str, ...]) -> bool:
    return any(True for pattern in patterns for _ in directory.glob(pattern))


def architectures_in(config: dict[str, Any]) -> list[str]:
    """The names of architectures that a config states."""
    found = config.get("architectures")
    return [str(name) for name in found] if isinstance(found, list) else []


def architectures_of(task: TaskTraits, *, asked: bool = True) -> dict[str, list[str]]:
    """The architectures that a task runs, by the type of the model; empty if they are not known.

    Args:
        task: of the table.
        asked: whether the user asked for this task.
    """
    found: dict[str, list[str]] = {}
    for kind in (*task.models, *(task.on_request if asked else ())):
        for model_type, names in _known().get(kind, {}).items():
            if not _suits(task, model_type):
                continue
            found.setdefault(model_type, []).extend(names)
    return found


def _suits(task: TaskTraits, model_type: str) -> bool:
    """Whether a task runs models of a type, of those that its classes load."""
    if task.name == _CAPTIONS:
        return model_type in _CAPTIONERS
    takes_images = model_type in _known()["image"]
    if task.name == _IMAGES:
        return takes_images
    return task.head or not (takes_images or model_type in _known()["no_text"])


@cache
def _known() -> dict[str, dict[str, list[str]]]:
    file = Path(__file__).with_name("architectures.json")
    known: dict[str, dict[str, list[str]]] = json.loads(file.read_text())
    return known


def _is_default(
    task: TaskTraits, names: list[str], config: dict[str, Any], directory: Path
) -> bool:
    """Whether a model is run for this task if no other one is asked for."""
    if task.name in _ON_REQUEST and task.name not in _specific(config):
        return False
    if not _runs(task, names, config, asked=False):
        return False
    return task.name != "embeddings" or _has_any(directory, _TOKENIZERS)


def _runs(
    task: TaskTraits, names: list[str], config: dict[str, Any], *, asked: bool = True
) -> bool:
    """Whether a task runs one of these architectures."""
    known = {name for some in architectures_of(task, asked=asked).values() for name in some}
    if any(name in known for name in names) or task.name in {_CAPTIONS, _IMAGES}:
        return not known.isdisjoint(names)
    code = config.get("auto_map")
    if isinstance(code, dict) and any(kind in code for kind in task.models):
        return True
    return any(_named_for(task, name) for name in names)


def _named_for(task: TaskTraits, name: str) -> bool:
    """Whether an unknown architecture, of another version of transformers, is named for a task."""
    if name in _all_names():
        return False
    return any(name.endswith(kind.removeprefix("Auto")[5:] or "Model") for kind in task.models)


@cache
def _all_names() -> set[str]:
    return {name for kinds in _known().values() for names in kinds.values() for name in names}


def _specific(config: dict[str, Any]) -> set[str]:
    """The tasks that a config has parameters for."""
    found = config.get("task_specific_params")
    names = set(found) if isinstance(found, dict) else set()
    return names | ({"translation"} if len(translations_in(names)) == 1 else set())


def translations_in(names: Iterable[str]) -> list[str]:
    """Those of the names that state two languages, such as ``translation_en_to_de``."""
    return sorted(name for name in names if name.startswith(TRANSLATION))


def _check_languages(wanted: str, config: dict[str, Any], root: Path) -> None:
    """Reject a translation between languages that are not stated.

    Raises:
        InvalidModel: the config has parameters for several, or not for those that are wanted.
    """
    found = config.get("task_specific_params")
    known = translations_in(found) if isinstance(found, dict) else []
    if (wanted in known) if wanted.startswith(TRANSLATION) else len(known) < 2:
        return
    raise InvalidModel(
        f"{root} has {'several translations' if known else 'no translation'} in its config; "
        f"{wanted!r} is not one of them.",
        hint=f"Specify one: --arg task=…, one of {', '.join(known)}."
        if known
        else "Specify its languages: --arg task=translation --arg src_lang=… --arg tgt_lang=…",
    )


def _check(task: TaskTraits, config: dict[str, Any], root: Path) -> None:
    """Reject a model that cannot be run for a task.

    Raises:
        InvalidModel: no model of its type can, or it lacks the weights of the task's head.
    """
    names, model_type = architectures_in(config), str(config.get("model_type"))
    known = architectures_of(task)
    if _runs(task, names, config) or not any(model_type in types for types in _known().values()):
        return
    if model_type not in known:
        raise InvalidModel(
            f"{root} is a {', '.join(names) or model_type}: no {model_type} model is run for the "
            f"task {task.name}.",
            hint=_hint(config),
        )
    if task.head and names and all(name in _all_names() for name in names):
        raise InvalidModel(
            f"{root} is a {', '.join(names)}, without the weights for the task {task.name}: "
            f"that takes a {' or '.join(known[model_type])}.",
            hint=_hint(config),
        )


def _check_entailment(config: dict[str, Any], root: Path) -> None:
    """Reject a classifier that does not tell whether one text follows from another.

    Raises:
        InvalidModel: none of its labels is entailment.
    """
    labels = config.get("label2id")
    names = labels if isinstance(labels, dict) else {}
    if not any(str(name).lower().startswith("entail") for name in names):
        raise InvalidModel(
            f"{root} has no label for entailment, which the task zero-shot-classification "
            f"requires; its labels are {', '.join(map(str, names)) or 'not stated'}.",
        )


def _not_supported(names: list[str], root: Path) -> str:
    if not names:
        return f"{root}/config.json states no architecture, so its task is not known."
    return f"{root} is a {', '.join(names)}, which no task of the runtime huggingface runs."


def _hint(config: dict[str, Any]) -> str:
    """What to specify instead: the tasks of a model, or all of them."""
    names = architectures_in(config)
    own = [task.name for task in TASKS.values() if _runs(task, names, config)]
    if own:
        return f"Specify another task, --arg task=…: {', '.join(own)}."
    return supported_tasks()
