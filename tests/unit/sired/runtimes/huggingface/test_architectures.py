"""What a directory is run for is determined by its config.json alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sire.errors import InvalidModel
from sired.runtimes.huggingface import architectures
from sired.runtimes.huggingface.architectures import check_files, choose_task
from sired.runtimes.huggingface.arguments import check_options
from sired.runtimes.huggingface.table import TASKS, task_named
from tests import hf_architectures


@pytest.fixture
def directory(tmp_path: Path) -> Callable[..., Path]:
    """Write a directory with a config."""

    def _directory(architecture: str, model_type: str = "bert", *files: str, **config: Any) -> Path:
        content = {"architectures": [architecture] if architecture else [], **config}
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type, **content}))
        for file in files:
            (tmp_path / file).touch()
        return tmp_path

    return _directory


@pytest.mark.parametrize(
    ("architecture", "model_type", "task"),
    [
        ("BertForSequenceClassification", "bert", "text-classification"),
        ("BertForQuestionAnswering", "bert", "question-answering"),
        ("LayoutLMForQuestionAnswering", "layoutlm", "document-question-answering"),
        ("BertForMaskedLM", "bert", "fill-mask"),
        ("BertModel", "bert", "embeddings"),
        ("T5EncoderModel", "t5", "embeddings"),
        ("ViTModel", "vit", "image-feature-extraction"),
        ("GPT2LMHeadModel", "gpt2", "text-generation"),
        ("T5ForConditionalGeneration", "t5", "text2text-generation"),
        ("WhisperForConditionalGeneration", "whisper", "automatic-speech-recognition"),
        ("Wav2Vec2ForCTC", "wav2vec2", "automatic-speech-recognition"),
        ("LlavaForConditionalGeneration", "llava", "image-text-to-text"),
        ("VisionEncoderDecoderModel", "vision-encoder-decoder", "image-to-text"),
        ("CLIPModel", "clip", "zero-shot-image-classification"),
        ("VitsModel", "vits", "text-to-audio"),
        ("DetrForSegmentation", "detr", "image-segmentation"),
        # Of a version of transformers that is not known here.
        ("NewForSequenceClassification", "new", "text-classification"),
        ("NewModel", "new", "embeddings"),
    ],
)
def test_an_architecture_is_run_for_one_task(
    directory: Callable[..., Path], architecture: Any, model_type: Any, task: str
) -> None:
    root = directory(architecture, model_type, "tokenizer.json")
    assert choose_task("", root, {}).name == task


def test_a_task_of_the_config_is_preferred(directory: Callable[..., Path]) -> None:
    parameters: dict[str, Any] = {"summarization": {}, "translation_en_to_de": {}}
    root = directory("T5ForConditionalGeneration", "t5", task_specific_params=parameters)
    assert choose_task("", root, {}).name == "summarization"
    del parameters["summarization"]
    root = directory("T5ForConditionalGeneration", "t5", task_specific_params=parameters)
    assert choose_task("", root, {}).name == "translation"


def test_code_that_comes_with_a_model_states_the_task(directory: Callable[..., Path]) -> None:
    root = directory("OwnThing", "own", auto_map={"AutoModelForCausalLM": "own.OwnThing"})
    assert choose_task("", root, {}).name == "text-generation"


@pytest.mark.parametrize(
    ("architecture", "model_type"),
    [
        ("BertForNextSentencePrediction", "bert"),
        ("EncodecModel", "encodec"),
        ("Wav2Vec2Model", "wav2vec2"),
        ("SpeechT5ForTextToSpeech", "speecht5"),
        ("", "bert"),
    ],
)
def test_an_architecture_that_no_task_runs_is_refused(
    directory: Callable[..., Path], architecture: Any, model_type: Any
) -> None:
    with pytest.raises(InvalidModel) as caught:
        choose_task("", directory(architecture, model_type), {})
    assert "no task" in caught.value.message or "states no architecture" in caught.value.message
    assert architecture in caught.value.message
    assert caught.value.hint.startswith(("Tasks are: text-classification", "Specify another task"))


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("juggling", "Tasks are: text-classification"),
        ("fil-mask", "Did you mean fill-mask?"),
        ("object-detection", "no bert model is run for the task object-detection"),
        ("text-classification", "that takes a BertForSequenceClassification"),
        ("zero-shot-classification", "that takes a BertForSequenceClassification"),
    ],
)
def test_a_task_that_a_model_cannot_do_is_refused(
    directory: Callable[..., Path], wanted: Any, said: str
) -> None:
    with pytest.raises(InvalidModel) as caught:
        choose_task(wanted, directory("BertForQuestionAnswering"), {})
    assert said in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("wanted", "task"),
    [("ner", "token-classification"), ("text-to-speech", "text-to-audio"), ("fill-mask",) * 2],
)
def test_tasks_have_the_names_that_the_hub_has_for_them(wanted: Any, task: str) -> None:
    assert task_named(wanted) is TASKS[task]


def test_labels_without_entailment_cannot_choose_labels(directory: Callable[..., Path]) -> None:
    root = directory("BertForSequenceClassification", label2id={"good": 0, "bad": 1})
    with pytest.raises(InvalidModel, match="entailment"):
        choose_task("zero-shot-classification", root, {})


@pytest.mark.parametrize(
    ("task", "name", "said"),
    [
        ("embeddings", "top_k", "Accepted are: base, dtype"),
        ("fill-mask", "max_new_tokens", "takes no argument 'max_new_tokens'"),
        ("text-generation", "treshold", "and those of generation"),
        ("object-detection", "treshold", "Did you mean threshold?"),
    ],
)
def test_an_argument_that_a_task_does_not_take_is_refused(task: str, name: str, said: str) -> None:
    with pytest.raises(InvalidModel) as caught:
        check_options(TASKS[task], {name: 1})
    assert said in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize(
    ("task", "needed", "file"),
    [
        ("embeddings", "tokenizer", "vocab.txt"),
        ("question-answering", "tokenizer", "tokenizer.json"),
        ("object-detection", "image processor", "preprocessor_config.json"),
        ("audio-classification", "feature extractor", "preprocessor_config.json"),
    ],
)
def test_a_directory_without_tokenizer_or_processor_is_refused(
    directory: Callable[..., Path], task: str, needed: str, file: str
) -> None:
    root = directory("BertModel")
    with pytest.raises(InvalidModel, match=f"has no {needed}"):
        check_files(TASKS[task], root, {})
    (root / file).write_text('{"model": {}}')
    check_files(TASKS[task], root, {})


def test_the_stored_architectures_are_those_of_the_installed_version() -> None:
    pytest.importorskip("transformers", reason="sire[hf] is not installed")
    assert hf_architectures.FILE.read_text() == hf_architectures.text(), (
        "run: python -m tests.hf_architectures"
    )
    assert architectures.architectures_of(TASKS["image-to-text"]).keys() >= {"blip", "git"}
