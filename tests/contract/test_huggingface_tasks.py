"""Tasks that pipelines of transformers run: the answers are those of the pipelines."""

import base64
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from sire.errors import InvalidInput, InvalidModel
from sire.protocol import content
from sired.codecs import encode
from sired.runtimes.discovery import find_runtime

transformers = pytest.importorskip("transformers", reason="sire[hf] is not installed")


from sired.runtimes.huggingface.architectures import choose_task  # noqa: E402
from sired.runtimes.huggingface.pipelines import plain_answer  # noqa: E402 (it needs transformers)
from sired.runtimes.huggingface.runtime import HuggingFaceRuntime, TaskModel  # noqa: E402
from tests.contract import tiny_tasks  # noqa: E402

TEXTS = ["some text", "more words in Paris and London", "a picture of speech in London"]
RANDOM = np.random.default_rng(0)
PICTURES = [RANDOM.integers(0, most, (40, 50, 3)).astype(np.uint8) for most in (256, 90)]
SOUND = (np.sin(np.arange(16000) / 9) * np.linspace(0, 1, 16000)).astype(np.float32)


@pytest.fixture(scope="module")
def runtime() -> HuggingFaceRuntime:
    runtime = find_runtime("huggingface")
    assert isinstance(runtime, HuggingFaceRuntime)
    return runtime


@pytest.fixture
def made(runtime: HuggingFaceRuntime, tmp_path: Path) -> Callable[..., Any]:
    """A tiny model, as the runtime loads it, and the path of its directory."""

    def _made(make: Callable[..., Any], **options: Any) -> "tuple[TaskModel, str] | None":
        path = str(tmp_path / "m")
        make(tmp_path / "m")
        return runtime.load(path, **options), path

    return _made


def same(answer: Any, expected: Any) -> None:
    """Ensure that an answer has the structure, the names and the numbers of the library's."""
    expected = plain_answer(expected)
    if isinstance(expected, dict):
        assert answer.keys() == expected.keys()
        for name, item in expected.items():
            same(answer[name], item)
    elif isinstance(expected, list) and expected and isinstance(expected[0], dict | list | str):
        assert len(answer) == len(expected)
        for one, other in zip(answer, expected, strict=True):
            same(one, other)
    elif isinstance(expected, str) or expected is None:
        assert answer == expected
    else:
        assert np.allclose(answer, expected, atol=1e-6)


def base64_of(picture: NDArray[Any]) -> str:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_masks_are_filled(runtime: HuggingFaceRuntime, made: Callable[..., Any]) -> None:
    model, path = made(tiny_tasks.masked, top_k=3)
    texts = [f"{text} [UNK]" for text in TEXTS]
    expected = transformers.pipeline("fill-mask", path, top_k=3)(texts)
    same(list(runtime.predict(model, texts)), expected)
    same(runtime.predict(model, texts[0])[0], expected[0])
    with pytest.raises(InvalidInput, match="has no mask"):
        runtime.predict(model, "some text")


def test_masks_are_filled_with_given_words(
    runtime: HuggingFaceRuntime, made: Callable[..., Any]
) -> None:
    model, path = made(tiny_tasks.masked, targets=["Paris", "London"])
    expected = transformers.pipeline("fill-mask", path, targets=["Paris", "London"])("in [UNK]")
    same(runtime.predict(model, "in [UNK]")[0], expected)


@pytest.mark.parametrize("multi_label", [False, True])
def test_labels_are_chosen_at_the_request(
    runtime: HuggingFaceRuntime, made: Callable[..., Any], multi_label: bool
) -> None:
    model, path = made(tiny_tasks.inferrer, task="zero-shot-classification")
    asked = {"candidate_labels": ["Paris", "speech", "words"], "multi_label": multi_label}
    expected = transformers.pipeline("zero-shot-classification", path)(TEXTS[0], **asked)
    same(runtime.predict(model, {"text": TEXTS[0], **asked})[0], expected)


def test_labels_are_chosen_at_registration(
    runtime: HuggingFaceRuntime, made: Callable[..., Any]
) -> None:
    given = {"candidate_labels": ["Paris", "speech"], "hypothesis_template": "a text in {}"}
    model, path = made(tiny_tasks.inferrer, task="zero-shot-classification", **given)
    expected = transformers.pipeline("zero-shot-classification", path)(TEXTS, **given)
    same(list(runtime.predict(model, TEXTS)), expected)


def test_entities_are_those_of_the_pipeline(
    runtime: HuggingFaceRuntime, made: Callable[..., Any]
) -> None:
    model, path = made(tiny_tasks.tokens_labeller)
    pipe = transformers.pipeline("token-classification", path, aggregation_strategy="simple")
    for text, found in zip(TEXTS, runtime.predict(model, TEXTS), strict=True):
        expected = [
            {
                "entity": one["entity_group"],
                "score": float(one["score"]),
                "text": text[one["start"] : one["end"]],
                "start": one["start"],
                "end": one["end"],
            }
            for one in pipe(text)
        ]
        same(found, expected)


@pytest.mark.parametrize("padded", [True, False])
def test_pairs_of_texts_are_classified(
    runtime: HuggingFaceRuntime, made: Callable[..., Any], padded: bool
) -> None:
    make = tiny_tasks.inferrer if padded else tiny_tasks.unpadded_classifier
    model, path = made(make)
    pairs = [{"text": text, "text_pair": other} for text in TEXTS for other in TEXTS[:2]]
    expected = [transformers.pipeline("text-classification", path)(pair) for pair in pairs]
    answer = runtime.predict(model, pairs)
    assert list(answer["label"]) == [one["label"] for one in expected]
    assert answer["score"] == pytest.approx([one["score"] for one in expected], abs=1e-6)
    listed = runtime.predict(model, [[pair["text"], pair["text_pair"]] for pair in pairs])
    assert np.array_equal(listed["score"], answer["score"])


@pytest.mark.parametrize("rows", [1, 2, 32])
def test_texts_are_classified_by_models_without_a_padding_token(
    runtime: HuggingFaceRuntime, made: Callable[..., Any], rows: int
) -> None:
    model, path = made(tiny_tasks.unpadded_classifier, rows=rows)
    expected = [transformers.pipeline("text-classification", path)(text)[0] for text in TEXTS]
    answer = runtime.predict(model, TEXTS)
    assert list(answer["label"]) == [one["label"] for one in expected]
    assert answer["score"] == pytest.approx([one["score"] for one in expected], abs=1e-6)


@pytest.mark.parametrize("activation", ["", "torch.nn.modules.linear.Identity"])
def test_documents_are_ranked_as_a_cross_encoder_does(
    runtime: HuggingFaceRuntime, made: Callable[..., Any], activation: str
) -> None:
    from sentence_transformers import CrossEncoder

    own = {"sentence_transformers": {"activation_fn": activation}} if activation else {}
    model, path = made(lambda path: tiny_tasks.reranker(path, **own), task="text-ranking")
    (found,) = runtime.predict(model, {"query": "words", "documents": TEXTS})
    expected = CrossEncoder(path, device="cpu").rank("words", TEXTS)
    assert [one["index"] for one in found] == [one["corpus_id"] for one in expected]
    for one, other in zip(found, expected, strict=True):
        assert one["score"] == pytest.approx(float(other["score"]), abs=1e-6)


def test_features_of_pictures_are_the_last_states(
    runtime: HuggingFaceRuntime, made: Callable[..., Any]
) -> None:
    model, path = made(tiny_tasks.vision_model)
    pipe = transformers.pipeline("image-feature-extraction", path)
    for picture, found in zip(PICTURES, runtime.predict(model, PICTURES), strict=True):
        assert np.allclose(found, pipe(Image.fromarray(picture))[0], atol=1e-6)


def test_features_of_pictures_can_be_pooled(
    runtime: HuggingFaceRuntime, made: Callable[..., Any]
) -> None:
    model, path = made(tiny_tasks.vision_model, pool=True)
    pipe = transformers.pipeline("image-feature-extraction", path, pool=True)
    (found,) = runtime.predict(model, PICTURES[0])
    assert np.allclose(found, pipe(Image.fromarray(PICTURES[0]))[0], atol=1e-6)


def test_features_of_texts_are_the_last_states(
    runtime: HuggingFaceRuntime, made: Callable[..., Any]
) -> None:
    model, path = made(tiny_tasks.masked, task="feature-extraction")
    pipe = transformers.pipeline("feature-extraction", path)
    for text, found in zip(TEXTS, runtime.predict(model, TEXTS), strict=True):
        assert np.allclose(found, pipe(text)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("make", "task", "options"),
    [
        (tiny_tasks.detector, "object-detection", {"threshold": 0.1}),
        (tiny_tasks.segmenter, "image-segmentation", {}),
        (tiny_tasks.depth_estimator, "depth-estimation", {}),
    ],
)
def test_what_is_in_pictures_is_what_the_pipeline_finds(
    runtime: HuggingFaceRuntime,
    made: Callable[..., Any],
    make: Callable[..., Any],
    task: str,
    options: dict[str, float],
) -> None:
    model, path = made(make, **options)
    pipe = transformers.pipeline(task, path, **options)
    expected = [pipe(Image.fromarray(picture)) for picture in PICTURES]
    assert expected[0]
    same(list(runtime.predict(model, PICTURES)), expected)
    same(list(runtime.predict(model, np.stack(PICTURES))), expected)
    same(runtime.predict(model, base64_of(PICTURES[0]))[0], expected[0])


def test_depth_maps_and_segments_are_pictures(
    runtime: HuggingFaceRuntime, made: Callable[..., Any], tmp_path: Path
) -> None:
    picture = Image.fromarray(PICTURES[0])
    model, path = made(tiny_tasks.depth_estimator)
    written = encode(runtime.predict(model, PICTURES[0]), content.PNG)
    expected = transformers.pipeline("depth-estimation", path)(picture)["depth"]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(written.frames[0]))), expected)
    theirs = tiny_tasks.segmenter(tmp_path / "segments")
    prepare = transformers.AutoImageProcessor.from_pretrained(tmp_path / "segments")
    with torch.no_grad():  # one label for each half of the picture
        logits = theirs(**prepare(picture, return_tensors="pt")).logits[0].flatten(1)
        theirs.decode_head.classifier.bias.sub_(logits.median(1).values)
    theirs.save_pretrained(tmp_path / "segments")
    model = runtime.load(str(tmp_path / "segments"))
    drawn: Any = Image.open(
        io.BytesIO(encode(runtime.predict(model, PICTURES[0]), content.PNG).frames[0])
    )
    segments = transformers.pipeline("image-segmentation", str(tmp_path / "segments"))(picture)
    assert len(segments) > 1
    for number, segment in enumerate(segments, 1):
        assert np.array_equal(np.asarray(drawn) == number, np.asarray(segment["mask"]) > 0)
    told = json.loads(drawn.text["segments"])
    assert [one["label"] for one in told] == [one["label"] for one in segments]


@pytest.mark.parametrize("template", [{}, {"hypothesis_template": "a picture in {}"}])
def test_a_picture_is_compared_with_labels(
    runtime: HuggingFaceRuntime, made: Callable[..., Any], template: dict[str, str]
) -> None:
    model, path = made(tiny_tasks.clip)
    asked = {"candidate_labels": ["Paris", "speech", "more words"], **template}
    pipe = transformers.pipeline("zero-shot-image-classification", path)
    expected = pipe(Image.fromarray(PICTURES[0]), **asked)
    same(runtime.predict(model, {"image": PICTURES[0], **asked})[0], expected)
    same(runtime.predict(model, {"image": base64_of(PICTURES[0]), **asked})[0], expected)


def test_what_labels_describe_is_found_in_a_picture(
    runtime: HuggingFaceRuntime, made: Callable[..., Any]
) -> None:
    model, path = made(tiny_tasks.open_detector, threshold=0.0, top_k=4)
    asked = {"candidate_labels": ["Paris", "speech"]}
    picture = Image.fromarray(PICTURES[0])
    pipe = transformers.pipeline("zero-shot-object-detection", path)
    expected = pipe({"image": picture, **asked}, threshold=0.0, top_k=4)
    assert expected
    same(runtime.predict(model, {"image": PICTURES[0], **asked})[0], expected)


def test_the_text_in_a_picture_is_read(
    runtime: HuggingFaceRuntime, made: Callable[..., Any]
) -> None:
    model, path = made(tiny_tasks.reader)
    theirs = transformers.VisionEncoderDecoderModel.from_pretrained(path).eval()
    processor = transformers.AutoImageProcessor.from_pretrained(path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    for picture, found in zip(PICTURES, runtime.predict(model, PICTURES), strict=True):
        pixels = processor(images=Image.fromarray(picture), return_tensors="pt").pixel_values
        with torch.inference_mode():
            tokens = theirs.generate(pixels)
        assert found == tokenizer.decode(tokens[0], skip_special_tokens=True).strip()
        assert found


def test_a_text_about_a_picture_is_continued(
    runtime: HuggingFaceRuntime, made: Callable[..., Any]
) -> None:
    said = {"max_new_tokens": 5, "suppress_tokens": [0, 1, 2, 3, 16]}
    model, path = made(tiny_tasks.chatter, **said)
    asked = {"image": PICTURES[0], "text": "<image> some text"}
    pipe = transformers.pipeline("image-text-to-text", path)
    (expected,) = pipe(
        images=[Image.fromarray(PICTURES[0])],
        text=asked["text"],
        return_full_text=False,
        generate_kwargs=said,
    )
    assert expected["generated_text"].strip()
    assert runtime.predict(model, asked)[0] == expected["generated_text"]


def test_weights_of_other_sizes_than_the_config_states_are_named(
    runtime: HuggingFaceRuntime, tmp_path: Path
) -> None:
    tiny_tasks.inferrer(tmp_path / "m")
    tiny_tasks.reranker(tmp_path / "other")
    shutil.copy(tmp_path / "other/model.safetensors", tmp_path / "m/model.safetensors")
    with pytest.raises(InvalidModel, match=r"classifier.bias has \[1\] instead of \[3\]"):
        runtime.load(str(tmp_path / "m"))


def test_a_model_without_a_chat_template_is_warmed_up_by_a_text_with_its_picture(
    runtime: HuggingFaceRuntime, made: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    model, _ = made(tiny_tasks.chatter, max_new_tokens=1)
    with caplog.at_level("INFO", logger="sired.worker"):
        runtime.warmup(model)
    assert not caplog.records


def test_a_model_that_does_not_take_the_sample_is_loaded_all_the_same(
    runtime: HuggingFaceRuntime, made: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    template = "{{ raise_exception('A system message comes first.') }}"
    model, _ = made(lambda path: tiny_tasks.chatter(path, chat_template=template))
    with caplog.at_level("INFO", logger="sired.worker"):
        runtime.warmup(model)
    assert "not warmed up: it failed on a sample" in caplog.text


CHAT = (
    "{% for message in messages %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image> {% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}"
)


def test_a_chat_about_pictures_is_continued(
    runtime: HuggingFaceRuntime, made: Callable[..., Any]
) -> None:
    said = {"max_new_tokens": 5, "suppress_tokens": [0, 1, 2, 3, 16]}
    model, path = made(lambda path: tiny_tasks.chatter(path, chat_template=CHAT), **said)

    def chat(picture: Any) -> list[dict[str, Any]]:
        content = [{"type": "image", "image": picture}, {"type": "text", "text": "some text"}]
        return [{"role": "user", "content": content}]

    pipe = transformers.pipeline("image-text-to-text", path)
    (expected,) = pipe(
        text=chat(Image.fromarray(PICTURES[0])), return_full_text=False, generate_kwargs=said
    )
    encoded = base64_of(PICTURES[0])
    for asked in (
        {"messages": chat(encoded)},
        chat(encoded),
        {"image": PICTURES[0], "text": "some text"},
    ):
        assert runtime.predict(model, asked)[0] == expected["generated_text"]


@pytest.mark.parametrize("where", ["https://example.com/a.png", "/etc/hostname"])
def test_neither_urls_nor_paths_are_opened(
    runtime: HuggingFaceRuntime, made: Callable[..., Any], where: str
) -> None:
    model, _ = made(lambda path: tiny_tasks.chatter(path, chat_template=CHAT))
    for part in (
        {"type": "image", "image": where},
        {"type": "image", "url": where},
        {"type": "image_url", "image_url": {"url": where}},
    ):
        with pytest.raises(InvalidInput):
            runtime.predict(model, [{"role": "user", "content": [part]}])
    with pytest.raises(InvalidInput, match="Neither URLs|not a picture"):
        runtime.predict(model, {"image": where, "text": "some text"})


def test_sounds_are_classified(runtime: HuggingFaceRuntime, made: Callable[..., Any]) -> None:
    model, path = made(tiny_tasks.sound_classifier, top_k=2)
    expected = transformers.pipeline("audio-classification", path, top_k=2)(SOUND)
    same(runtime.predict(model, {"samples": SOUND, "sampling_rate": 16000}), expected)


@pytest.mark.parametrize("options", [{}, {"chunk_length_s": 0.4, "stride_length_s": 0.1}])
def test_letters_are_recognised_in_speech(
    runtime: HuggingFaceRuntime, made: Callable[..., Any], options: dict[str, float]
) -> None:
    from tests.contract.tiny_tasks import ctc_listener

    model, path = made(ctc_listener, **options)
    pipe = transformers.pipeline("automatic-speech-recognition", path, **options)
    expected = pipe(SOUND.copy())
    assert expected["text"]
    answer = runtime.predict(model, {"samples": SOUND, "sampling_rate": 16000})
    assert answer == expected["text"]


@pytest.mark.parametrize("seconds", [1, 5])
@pytest.mark.parametrize(
    "options",
    [
        {"return_timestamps": True},
        {"return_timestamps": "word"},
        {"chunk_length_s": 1.5},
        {"chunk_length_s": 1.5, "stride_length_s": 0.2, "return_timestamps": True},
    ],
)
def test_long_recordings_are_transcribed_with_their_times(
    runtime: HuggingFaceRuntime,
    made: Callable[..., Any],
    options: dict[str, Any],
    seconds: int,
) -> None:
    model, path = made(tiny_tasks.transcriber, **options)
    wave = np.resize(SOUND, 16000 * seconds) * np.linspace(1, 0, 16000 * seconds, dtype=np.float32)
    expected = transformers.pipeline("automatic-speech-recognition", path)(wave.copy(), **options)
    assert expected["text"]
    answer = runtime.predict(model, {"samples": wave, "sampling_rate": 16000})
    if "return_timestamps" in options:
        assert expected["chunks"]
        same(answer, expected)
    else:
        assert answer == expected["text"]


def test_a_recording_longer_than_a_window_is_transcribed_whole(
    runtime: HuggingFaceRuntime, made: Callable[..., Any]
) -> None:
    model, path = made(tiny_tasks.transcriber)
    wave = np.resize(SOUND, 16000 * 5)
    pipe = transformers.pipeline("automatic-speech-recognition", path)
    expected = pipe(wave.copy(), return_timestamps=True)["text"]
    assert runtime.predict(model, {"samples": wave, "sampling_rate": 16000}) == expected


CONTEXTS = {
    "one window": "some picture of speech in Paris and more words in London",
    "several windows": " ".join(f"{word} in Paris and more words" for word in "ab cd ef gh".split())
    + " some text of a picture and speech in London",
}


@pytest.mark.parametrize("context", CONTEXTS.values(), ids=CONTEXTS.keys())
@pytest.mark.parametrize("longest", [15, 2])
def test_an_answer_is_the_most_likely_span_of_the_logits(
    runtime: HuggingFaceRuntime, made: Callable[..., Any], context: str, longest: int
) -> None:
    model, path = made(tiny_tasks.answerer)
    asked = {"question": "more text", "context": context, "max_answer_len": longest}
    (found,) = runtime.predict(model, asked)
    best = dict(_spans(path, "more text", context, longest))
    text, score = max(best.items(), key=lambda item: item[1])
    assert found["answer"] == text == context[found["start"] : found["end"]]
    assert found["score"] == pytest.approx(score, abs=1e-6)


def _spans(path: str, question: str, context: str, longest: int) -> Iterator[tuple[str, float]]:
    """The best span of each window of a context, by all products of probabilities."""
    theirs = transformers.AutoModelForQuestionAnswering.from_pretrained(path).eval()
    words = transformers.AutoTokenizer.from_pretrained(path)
    windows = words(
        question,
        context,
        truncation="only_second",
        max_length=words.model_max_length,
        stride=words.model_max_length // 2,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    found: dict[str, float] = {}
    for number, window in enumerate(windows.encodings):
        given = {n: torch.tensor([windows[n][number]]) for n in words.model_input_names}
        with torch.inference_mode():
            logits = theirs(**given)
        inside = [place for place, of in enumerate(window.sequence_ids) if of == 1]
        # The first token, which means "no answer", takes its share of the probability.
        begins, ends = (
            dict(zip([0, *inside], one[0][[0, *inside]].softmax(0).tolist(), strict=True))
            for one in (logits.start_logits, logits.end_logits)
        )
        score, first, last = max(
            (begins[first] * ends[last], first, last)
            for first in inside
            for last in inside
            if first <= last < first + longest
        )
        text = context[window.offsets[first][0] : window.offsets[last][1]]
        found[text] = found.get(text, 0) + score
    yield from found.items()


@pytest.mark.parametrize(
    ("make", "task"),
    [
        (tiny_tasks.masks_of_anything, "feature-extraction"),
        (tiny_tasks.answerer_about_pictures, "question-answering"),
        (tiny_tasks.speaker_by_spectrograms, "text-to-speech"),
    ],
)
def test_what_no_task_runs_is_refused_with_a_list_of_what_is(
    make: Callable[..., Any], task: str, tmp_path: Path
) -> None:
    model = make(tmp_path / "m")
    for wanted in ("", task):
        with pytest.raises(InvalidModel) as caught:
            choose_task(wanted, tmp_path / "m", {})
        assert type(model).__name__ in caught.value.message
        assert caught.value.hint.startswith("Tasks are: text-classification")


def test_texts_are_spoken(runtime: HuggingFaceRuntime, made: Callable[..., Any]) -> None:
    model, path = made(tiny_tasks.speaker)
    pipe = transformers.pipeline("text-to-audio", path)
    for text, found in zip(TEXTS, runtime.predict(model, TEXTS), strict=True):
        expected = pipe(text)
        assert found["sampling_rate"] == expected["sampling_rate"] == 8000
        assert np.allclose(found["samples"], expected["audio"], atol=1e-6)
        assert found["samples"].size > 10
    assert np.array_equal(runtime.predict(model, TEXTS[0])["samples"], pipe(TEXTS[0])["audio"])


def test_questions_about_documents_are_answered(
    runtime: HuggingFaceRuntime, made: Callable[..., Any]
) -> None:
    model, path = made(tiny_tasks.document_reader, top_k=2)
    boxes = [("some", (0, 0, 100, 50)), ("words", (100, 0, 300, 50)), ("Paris", (0, 60, 90, 99))]
    picture = Image.fromarray(PICTURES[0])
    pipe = transformers.pipeline("document-question-answering", path)
    expected = pipe({"image": picture, "question": "more text", "word_boxes": boxes}, top_k=2)
    asked = {"image": PICTURES[0], "question": "more text", "word_boxes": boxes}
    same(runtime.predict(model, asked)[0], expected)


@pytest.mark.parametrize("task", ["translation_en_to_de", "translation_en_to_fr"])
def test_texts_are_translated_with_the_prefix_of_their_languages(
    runtime: HuggingFaceRuntime, made: Callable[..., Any], task: str
) -> None:
    model, path = made(tiny_tasks.translator, task=task)
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    prefix = theirs.config.task_specific_params[task]["prefix"]
    for text, found in zip(TEXTS, runtime.predict(model, TEXTS), strict=True):
        tokens = tokenizer(prefix + text, return_tensors="pt")
        expected = theirs.generate(**tokens, max_length=8)
        assert found == tokenizer.decode(expected[0], skip_special_tokens=True)


def test_a_translation_begins_with_the_token_of_its_language(
    runtime: HuggingFaceRuntime, made: Callable[..., Any]
) -> None:
    # Any token of the vocabulary stands for a language, as in NLLB and mBART.
    model, path = made(
        lambda path: tiny_tasks.translator(path, task_specific_params=None),
        task="translation",
        tgt_lang="London",
        max_length=8,
    )
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(path).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    first = tokenizer.convert_tokens_to_ids("London")
    for text, found in zip(TEXTS, runtime.predict(model, TEXTS), strict=True):
        tokens = tokenizer(text, return_tensors="pt")
        expected = theirs.generate(**tokens, max_length=8, forced_bos_token_id=first)
        assert found == tokenizer.decode(expected[0], skip_special_tokens=True)
        assert found.startswith("London")
    with pytest.raises(InvalidModel, match="has no language 'Atlantis'"):
        runtime.load(path, task="translation", tgt_lang="Atlantis")


def test_the_languages_of_a_translation_have_to_be_stated(made: Callable[..., Any]) -> None:
    with pytest.raises(InvalidModel, match="translation_en_to_fr"):
        made(tiny_tasks.translator, task="translation")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"text": "some text"}, "requires the field 'candidate_labels'"),
        ({"text": "a", "candidate_labels": []}, "candidate_labels"),
        ({"text": "a", "candidate_lables": ["b"]}, "Did you mean candidate_labels?"),
        ({"text": np.array(3), "candidate_labels": ["b"]}, "not text"),
        ([], "empty"),
    ],
)
def test_objects_that_do_not_fit_are_rejected_by_name(
    runtime: HuggingFaceRuntime, made: Callable[..., Any], data: Any, said: str
) -> None:
    model, _ = made(tiny_tasks.inferrer, task="zero-shot-classification")
    with pytest.raises(InvalidInput) as caught:
        runtime.predict(model, data)
    assert said in f"{caught.value.message} {caught.value.hint}"
