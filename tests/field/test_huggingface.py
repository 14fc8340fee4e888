"""Hugging Face directories through the command line: lists, pictures, objects, and refusals."""

import base64
import io
import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.home import Home

transformers = pytest.importorskip("transformers", reason="sire[hf] is not installed")

from tests.contract import tiny_models, tiny_tasks  # noqa: E402 (they need transformers)


def asked(home: Home, name: str, data: Any, *options: Any) -> Any:
    """The answer to JSON data, or to a file."""
    if hasattr(data, "suffix"):
        return json.loads(home.sire("predict", name, "-i", data, *options).stdout)
    done = home.sire("predict", name, "-i", "-", *options, stdin=json.dumps(data).encode())
    return json.loads(done.stdout)


def close(answer: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [one["label"] for one in answer] == [one["label"] for one in expected]
    assert [one["score"] for one in answer] == pytest.approx(
        [one["score"] for one in expected], abs=1e-6
    )


def test_a_list_of_texts_is_answered_without_a_padding_token(home: Home, tmp_path: Path) -> None:
    tiny_tasks.unpadded_classifier(tmp_path / "m")
    home.register("m", tmp_path / "m")
    assert "object[-1]" in home.sire("show", "m").stdout.decode()
    texts = ["some text", "more words in Paris and London"]
    pipe = transformers.pipeline("text-classification", str(tmp_path / "m"))
    expected = [pipe(text)[0] for text in texts]
    together = asked(home, "m", texts)
    close(
        [dict(zip(together, row, strict=True)) for row in zip(*together.values(), strict=True)],
        expected,
    )
    pair = {"text": "some text", "text_pair": "speech"}
    assert asked(home, "m", pair)["score"] == pytest.approx([pipe(pair)["score"]], abs=1e-6)


def test_a_picture_is_compared_with_the_labels_of_registration_or_request(
    home: Home, tmp_path: Path
) -> None:
    tiny_tasks.clip(tmp_path / "m")
    picture = Image.fromarray(
        np.random.default_rng(1).integers(0, 256, (40, 50, 3)).astype(np.uint8)
    )
    picture.save(tmp_path / "p.png")
    labels = ["Paris", "speech"]
    home.register("m", tmp_path / "m", "--arg", f"candidate_labels={json.dumps(labels)}")
    pipe = transformers.pipeline("zero-shot-image-classification", str(tmp_path / "m"))
    close(asked(home, "m", tmp_path / "p.png")[0], pipe(picture, candidate_labels=labels))
    file = io.BytesIO()
    picture.save(file, "PNG")
    content = base64.b64encode(file.getvalue()).decode()
    other = ["London", "words", "text"]
    answer = asked(home, "m", {"image": content, "candidate_labels": other})
    close(answer[0], pipe(picture, candidate_labels=other))


def test_a_sound_file_is_classified(home: Home, tmp_path: Path) -> None:
    tiny_tasks.sound_classifier(tmp_path / "m")
    home.register("m", tmp_path / "m")
    assert "samples:float32[-1]" in home.sire("show", "m").stdout.decode()
    samples = (np.sin(np.arange(8000) / 9) * 9000).astype(np.int16)
    with wave.open(str(tmp_path / "s.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(16000)
        sound.writeframes(samples.tobytes())
    pipe = transformers.pipeline("audio-classification", str(tmp_path / "m"))
    close(asked(home, "m", tmp_path / "s.wav"), pipe(samples.astype(np.float32) / 32768))


def test_what_cannot_be_run_is_refused_at_registration(home: Home, tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        return home.sire("register", "m", tmp_path / "m", *arguments, code=9).stderr.decode()

    model = transformers.BertForQuestionAnswering(tiny_models.bert())
    tiny_models.save(tmp_path / "m", model)
    assert "has no tokenizer, which the task question-answering requires" in refused()
    assert "Tasks are: text-classification, " in refused("--arg", "task=no-such-task")
    assert "takes a BertForTokenClassification" in refused("--arg", "task=ner")
    assert "Did you mean doc_stride?" in refused("--arg", "doc_strid=3")
    config = tmp_path / "m/config.json"
    content = json.loads(config.read_text())
    config.write_text(json.dumps({**content, "architectures": ["BertForMultipleChoice"]}))
    said = refused()
    assert "BertForMultipleChoice, which no task of the runtime huggingface runs" in said
    assert "Tasks are: text-classification, " in said


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "Input data was truncated"), ('{"model": {"type"', "truncated"), ("{}", "`model`")],
)
def test_a_damaged_tokenizer_is_named_at_registration(
    home: Home, tmp_path: Path, content: str, said: str
) -> None:
    tiny_models.save(tmp_path / "m", transformers.BertModel(tiny_models.bert()))
    tiny_models.tokenizer().save_pretrained(tmp_path / "m")
    (tmp_path / "m/tokenizer.json").write_text(content)
    refused = home.sire("register", "m", tmp_path / "m", code=9).stderr.decode()
    assert f"{tmp_path}/m/tokenizer.json is damaged: " in refused
    assert said in refused


def test_a_tokenizer_that_the_library_cannot_read_is_named_by_the_load(
    home: Home, tmp_path: Path
) -> None:
    tiny_models.save(tmp_path / "m", transformers.BertModel(tiny_models.bert()))
    tiny_models.tokenizer().save_pretrained(tmp_path / "m")
    (tmp_path / "m/tokenizer.json").write_text('{"added_tokens": [], "model": {"type": "Other"}}')
    home.register("m", tmp_path / "m")
    refused = home.sire("load", "m", code=9).stderr.decode()
    assert f"The tokenizer in {tmp_path}/m cannot be read: data did not match" in refused


def test_an_adapter_answers_on_its_base(home: Home, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft", reason="sire[peft] is not installed")
    base = tiny_models.text_classifier(tmp_path / "base")
    base.name_or_path = str(tmp_path / "base")
    config = peft.LoraConfig(
        r=4, task_type="SEQ_CLS", target_modules=["query"], init_lora_weights=False
    )
    adapted = peft.get_peft_model(base, config).eval()
    adapted.save_pretrained(tmp_path / "adapter")
    home.register("m", tmp_path / "adapter")
    tokens = tiny_models.tokenizer()("some text", return_tensors="pt")
    expected = adapted(**tokens).logits.softmax(-1).max().item()
    assert asked(home, "m", ["some text"])["score"] == pytest.approx([expected], abs=1e-6)
