"""Runs pipelines of transformers on objects with several fields: a picture and labels, a chat."""

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from sire.errors import InvalidInput
from sired.runtimes.huggingface.items import (
    items_in,
    objects_in,
    picture_of,
    text_of,
    texts_of,
)
from sired.runtimes.huggingface.pipelines import SIDE, PipelineTask
from sired.runtimes.huggingface.text import TRIAL


class ObjectTask(PipelineTask):
    """Runs a pipeline on objects with several fields."""

    def _pipeline_options(self, given: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002
        return {}  # they are defaults of the request's fields

    def _items(self, data: Any) -> list[Any]:
        return objects_in(data, self._task, self._options)

    def sample(self) -> Any:
        """A small object with each required field."""
        values = {
            "text": TRIAL[0],
            "question": TRIAL[0],
            "image": np.zeros((SIDE, SIDE, 3), np.uint8),
            "candidate_labels": list(TRIAL[:2]),
            "word_boxes": [[TRIAL[0], [0, 0, 10, 10]]],
        }
        return {name: values[name] for name in self._sample_fields()}

    def _sample_fields(self) -> tuple[str, ...]:
        return self._task.fields[: self._task.required]


class ZeroShotClassification(ObjectTask):
    """Rates how well labels describe a text."""

    def _run_one(self, item: Any) -> Any:
        given = {**item, "candidate_labels": labels_of(item["candidate_labels"])}
        return self._pipe(text_of(given.pop("text"), "text"), **given)


class ZeroShotImageClassification(ObjectTask):
    """Rates how well labels describe a picture."""

    def _run_one(self, item: Any) -> Any:
        given = {**item, "candidate_labels": labels_of(item["candidate_labels"])}
        return self._pipe(picture_of(given.pop("image")), **given)


class ZeroShotObjectDetection(ObjectTask):
    """Finds what labels describe in a picture."""

    def _run_one(self, item: Any) -> Any:
        given = copy.copy(item)
        looked_for = {
            "image": picture_of(given.pop("image")),
            "candidate_labels": labels_of(given.pop("candidate_labels")),
        }
        return self._pipe(looked_for, **given)


class DocumentQuestionAnswering(ObjectTask):
    """Answers questions about a picture of a document."""

    def _pipeline_options(self, given: dict[str, Any]) -> dict[str, Any]:
        return given

    def _items(self, data: Any) -> list[Any]:
        return objects_in(data, self._task, {})

    def _run_one(self, item: Any) -> Any:
        given = {
            "image": picture_of(item["image"]),
            "question": text_of(item["question"], "question"),
        }
        if "word_boxes" in item:
            given["word_boxes"] = [
                (text_of(word, "A word"), [int(side) for side in np.asarray(box).ravel()])
                for word, box in item["word_boxes"]
            ]
        return self._pipe(given)

    def _sample_fields(self) -> tuple[str, ...]:
        return self._task.fields


class ImageTextToText(ObjectTask):
    """Continues a text or a chat about pictures."""

    def _run_one(self, item: Any) -> Any:
        given = self._arguments(item)
        (answer,) = self._pipe(**given, return_full_text=False)
        return answer["generated_text"]

    def _items(self, data: Any) -> list[Any]:
        items = items_in(data)
        if items and all(isinstance(item, dict) and "role" in item for item in items):
            items = [{"messages": items}]
        return objects_in(items, self._task, {})

    def _arguments(self, item: dict[str, Any]) -> dict[str, Any]:
        """What the pipeline is called with: a chat, if the model has a template for it."""
        if "messages" in item:
            return {"text": [_message(one) for one in item["messages"]]}
        sent = [item["image"]] if "image" in item else item.get("images", [])
        pictures = [picture_of(one) for one in sent]
        if "text" not in item:
            raise InvalidInput("The model requires the field 'text', or 'messages'.")
        text = text_of(item["text"], "text")
        if not self._has_template():
            return {"images": pictures or None, "text": text}
        content = [{"type": "image", "image": picture} for picture in pictures]
        return {"text": [{"role": "user", "content": [*content, {"type": "text", "text": text}]}]}

    def sample(self) -> Any:
        """A word about a small black picture, and the token that stands for it in the text."""
        token = "" if self._has_template() else getattr(self._pipe.processor, "image_token", "")
        return {"image": np.zeros((SIDE, SIDE, 3), np.uint8), "text": f"{token} {TRIAL[0]}"}

    def _has_template(self) -> bool:
        return self._pipe.processor.chat_template is not None


def _message(message: Any) -> dict[str, Any]:
    """A message of a chat, with its pictures decoded; URLs and paths are never opened."""
    if not isinstance(message, dict) or "role" not in message or "content" not in message:
        raise InvalidInput("A message is an object with 'role' and 'content'.")
    content = message["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    role = text_of(message["role"], "role")
    return {"role": role, "content": [_content(part) for part in parts]}


def _content(part: Any) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text":
        return {"type": "text", "text": text_of(part.get("text"), "text")}
    if kind == "image":
        return {"type": "image", "image": picture_of(part.get("image"))}
    if kind == "image_url":  # OpenAI's form; only data URLs are accepted
        url = part.get("image_url")
        return {
            "type": "image",
            "image": picture_of(url.get("url") if isinstance(url, Mapping) else url),
        }
    raise InvalidInput(
        "A part of a message is not of type text or image.",
        hint='Write {"type": "text", "text": …} or {"type": "image", "image": base64}.',
    )


def labels_of(value: Any) -> list[str]:
    """Candidate labels: a list of texts, or one text with commas between them."""
    if isinstance(value, str):
        value = [label.strip() for label in value.split(",") if label.strip()]
    return texts_of(value, "candidate_labels")


OBJECT_TASKS = {
    "zero-shot-classification": ZeroShotClassification,
    "zero-shot-image-classification": ZeroShotImageClassification,
    "zero-shot-object-detection": ZeroShotObjectDetection,
    "document-question-answering": DocumentQuestionAnswering,
    "image-text-to-text": ImageTextToText,
}
