"""Adapters of PEFT: the answers are those of PEFT itself, on the same base."""

import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sire.errors import InvalidModel
from sired.runtimes.discovery import find_runtime
from sired.store.formats import recognise
from sired.store.huggingface import directory_fingerprint, loaded_bytes, weight_files

if TYPE_CHECKING:
    import torch


transformers = pytest.importorskip("transformers", reason="sire[hf] is not installed")

import torch  # noqa: E402

from sired.runtimes.huggingface import architectures  # noqa: E402 (it needs transformers)
from tests.contract import tiny_models  # noqa: E402

pytestmark = [
    # Both take seconds to import: in one process, and not already to find these tests.
    pytest.mark.xdist_group("transformers"),
    pytest.mark.skipif(not importlib.util.find_spec("peft"), reason="sire[peft] is not installed"),
]
TEXTS = ["some text", "more words in Paris and London", "speech"]


def adapt(model: Any, directory: Path, **kwargs: Any) -> None:
    """Save a random adapter of a model."""
    import peft

    adapted = peft.get_peft_model(model, peft.LoraConfig(r=4, **kwargs))
    for name, parameter in adapted.named_parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.3)
            assert "lora" in name or "modules_to_save" in name
    adapted.eval().save_pretrained(directory)


@pytest.fixture
def classifier(tmp_path: Path) -> Path:
    """An adapter with a classifier of its own, of a model that was made for other labels."""
    tiny_models.text_classifier(tmp_path / "base")
    base = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "base", num_labels=2, ignore_mismatched_sizes=True
    )
    kind = {"task_type": "SEQ_CLS", "target_modules": ["query", "value"]}
    adapt(base, tmp_path / "adapter", **kind)
    return tmp_path / "adapter"


def expected(directory: Path) -> "list[torch.Tensor]":
    import peft

    model = peft.AutoPeftModelForSequenceClassification.from_pretrained(
        directory, num_labels=2, ignore_mismatched_sizes=True
    ).eval()
    with torch.inference_mode():
        return [
            model(**tiny_models.tokenizer()(text, return_tensors="pt")).logits[0].softmax(-1).max()
            for text in TEXTS
        ]


def test_a_classifier_answers_as_peft_does(classifier: Path) -> None:
    runtime = find_runtime("huggingface")
    model = runtime.load(str(classifier))
    answer = runtime.predict(model, TEXTS)
    assert answer["score"] == pytest.approx([float(one) for one in expected(classifier)], abs=1e-6)
    base = runtime.predict(runtime.load(str(classifier.parent / "base")), TEXTS)
    assert not np.allclose(answer["score"], base["score"], atol=1e-3)


def test_a_writer_continues_as_peft_does(tmp_path: Path) -> None:
    base = tiny_models.writer(tmp_path / "base")
    base.name_or_path = "../base"
    adapt(base, tmp_path / "adapter", task_type="CAUSAL_LM", target_modules=["c_attn"])
    said = {"max_new_tokens": 5, "suppress_tokens": [0, 1, 2, 3]}
    runtime = find_runtime("huggingface")
    (written,) = runtime.predict(runtime.load(str(tmp_path / "adapter"), **said), TEXTS[0])
    import peft

    inner = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(inner, tmp_path / "adapter").eval()
    tokens = tiny_models.tokenizer()(TEXTS[0], return_tensors="pt")
    rows = theirs.generate(
        input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], **said
    )
    new = rows[0, tokens["input_ids"].shape[1] :]
    assert written == tiny_models.tokenizer().decode(new)


def test_an_adapter_is_known_with_its_base(classifier: Path) -> None:
    found, base = recognise(classifier), recognise(classifier.parent / "base")
    assert found.name == base.name == "transformers"
    both = loaded_bytes(classifier, {})
    assert both == found.weight_bytes + base.weight_bytes
    names = [file.name for file in weight_files(classifier, {})]
    assert names == ["model.safetensors", "adapter_model.safetensors"]
    before = directory_fingerprint(classifier, {})
    weights = classifier.parent / "base/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\1")
    assert directory_fingerprint(classifier, {}) != before


def test_a_base_that_is_not_there_is_asked_for(classifier: Path) -> None:
    moved = classifier.parent / "base"
    moved.rename(classifier.parent / "moved")
    with pytest.raises(InvalidModel) as caught:
        loaded_bytes(classifier, {})
    assert "--arg base=DIRECTORY" in caught.value.hint
    arguments = {"base": str(classifier.parent / "moved")}
    assert loaded_bytes(classifier, arguments) > 0
    assert find_runtime("huggingface").load(str(classifier), **arguments)


def test_the_task_is_the_adapters(classifier: Path) -> None:
    assert architectures.choose_task("", classifier, {}).name == "text-classification"
    config = classifier / "adapter_config.json"
    stated = json.loads(config.read_text())
    config.write_text(json.dumps({**stated, "task_type": None}))
    assert architectures.choose_task("", classifier, {}).name == "text-classification"


def test_without_peft_the_extra_is_named(classifier: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InvalidModel) as caught:
        architectures.check_packages(classifier)
    assert "pip install 'sire[peft]'" in caught.value.hint
