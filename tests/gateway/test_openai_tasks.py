"""OpenAI's paths for ranking, transcribing and drawing, against transformers and diffusers."""

import base64
import io
import re
import struct
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest
import transformers
from numpy.typing import NDArray
from PIL import Image

from tests.contract import tiny_drawing, tiny_models, tiny_tasks
from tests.gateway.serving import Serving, serving
from tests.home import Home

pytestmark = pytest.mark.xdist_group("transformers")

QUERY, DOCUMENTS = "some text", ["more words", "Paris", "some text more words in Paris"]
SAMPLES = (np.sin(np.arange(16000) / 9) * 12000).astype(np.int16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tasks")
    one_label = tiny_models.bert(num_labels=1)
    ranker = transformers.BertForSequenceClassification(one_label)
    tiny_models.save(folder / "ranker", ranker, tiny_models.tokenizer())
    tiny_models.text_classifier(folder / "classifier")
    tiny_models.embedder(folder / "embedder")
    tiny_tasks.transcriber(folder / "listener")
    tiny_drawing.draw(folder / "painter")
    return folder


@pytest.fixture(scope="module")
def server(gateway_home: Home, folder: Path) -> Iterator[Serving]:
    for name in ("ranker", "classifier", "embedder", "listener", "painter"):
        gateway_home.register(name, folder / name)
    gateway_home.register("timed", folder / "listener", "--arg", "return_timestamps=true")
    with serving(gateway_home) as running:
        yield running


def recording() -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(16000)
        writer.writeframes(struct.pack(f"<{len(SAMPLES)}h", *SAMPLES))
    return file.getvalue()


def own_transcript(folder: Path, **options: Any) -> Any:
    pipe = transformers.pipeline("automatic-speech-recognition", str(folder / "listener"))
    return pipe(SAMPLES.astype(np.float32) / 32768, **options)


def rerank(server: Serving, **fields: Any) -> list[dict[str, Any]]:
    body = {"model": "ranker", "query": QUERY, "documents": DOCUMENTS, **fields}
    results: list[dict[str, Any]] = server.post("/v1/rerank", body).json()["results"]
    return results


def test_a_cross_encoder_ranks_as_the_pipeline_of_transformers(
    server: Serving, folder: Path
) -> None:
    pipe = transformers.pipeline("text-classification", str(folder / "ranker"))
    pairs = [{"text": QUERY, "text_pair": text} for text in DOCUMENTS]
    own = [pipe(pair)["score"] for pair in pairs]
    found = rerank(server)
    assert [one["index"] for one in found] == sorted(range(3), key=lambda place: -own[place])
    for one in found:
        assert one["relevance_score"] == pytest.approx(own[one["index"]], abs=1e-6)
        assert one.keys() == {"index", "relevance_score"}


def test_the_best_documents_are_returned_if_that_is_wanted(server: Serving) -> None:
    all_of_them = rerank(server)
    (best,) = rerank(
        server, top_n=1, return_documents=True, documents=[{"text": one} for one in DOCUMENTS]
    )
    assert best == {**all_of_them[0], "document": {"text": DOCUMENTS[best["index"]]}}


def test_vectors_are_compared_where_a_model_embeds(server: Serving, folder: Path) -> None:
    texts = ["some text", "more words in Paris"]
    own = tiny_models.embed(folder / "embedder")
    cosine = own[0] @ own[1] / np.linalg.norm(own[0]) / np.linalg.norm(own[1])
    found = rerank(server, model="embedder", query=texts[0], documents=texts)
    assert [one["index"] for one in found] == [0, 1]
    assert found[0]["relevance_score"] == pytest.approx(1, abs=1e-6)
    assert found[1]["relevance_score"] == pytest.approx(cosine, abs=1e-5)


@pytest.mark.parametrize(
    ("path", "body", "message"),
    [
        ("rerank", {"model": "classifier", "query": "x", "documents": ["y"]}, "by 3 labels"),
        ("rerank", {"model": "ranker", "query": "x", "documents": []}, "not valid"),
        ("rerank", {"model": "ranker", "query": "x", "documents": ["y"], "top_n": 0}, "top_n"),
        ("rerank", {"model": "painter", "query": "x", "documents": ["y"]}, "painter"),
        ("images/generations", {"model": "ranker", "prompt": "x"}, "does not make pictures"),
        ("images/generations", {"model": "painter", "prompt": "x", "size": "big"}, "not a size"),
        ("images/generations", {"model": "painter", "prompt": "x", "style": "vivid"}, "'style'"),
        (
            "images/generations",
            {"model": "painter", "prompt": "x", "response_format": "url"},
            "response_format url is not supported",
        ),
        ("audio/transcriptions", {"model": "listener"}, "not a form"),
    ],
)
def test_what_is_not_supported_is_refused(
    server: Serving, path: str, body: dict[str, Any], message: str
) -> None:
    answer = server.post(f"/v1/{path}", body)
    assert answer.status == 400, answer.body
    assert message in answer.error["message"]


def test_recordings_are_transcribed_as_transformers_does(
    client: openai.OpenAI, folder: Path
) -> None:
    own = own_transcript(folder)["text"]
    assert own
    create = client.audio.transcriptions.create
    assert create(model="listener", file=("a.wav", recording())).text == own
    text = create(model="listener", file=("a.wav", recording()), response_format="text")
    assert text == f"{own}\n"


def test_times_are_given_where_the_model_knows_them(client: openai.OpenAI, folder: Path) -> None:
    own = own_transcript(folder, return_timestamps=True)
    assert own["chunks"]
    file = ("a.wav", recording())
    create = client.audio.transcriptions.create
    found = create(model="timed", file=file, response_format="verbose_json")
    assert found.text == own["text"]
    assert found.segments is not None
    assert [(one.start, one.end, one.text) for one in found.segments] == [
        (one["timestamp"][0], one["timestamp"][1] or one["timestamp"][0], one["text"])
        for one in own["chunks"]
    ]
    assert found.duration == max(one.end for one in found.segments)
    lines = str(create(model="timed", file=file, response_format="srt")).splitlines()
    assert lines[0] == "1"
    assert re.fullmatch(r"00:00:\d\d,\d{3} --> 00:00:\d\d,\d{3}", lines[1])
    assert lines[2] == own["chunks"][0]["text"].strip()
    assert str(create(model="timed", file=file, response_format="vtt")).startswith("WEBVTT\n\n")


@pytest.mark.parametrize("wanted", ["verbose_json", "srt", "vtt"])
def test_times_that_are_not_known_are_refused_by_name(client: openai.OpenAI, wanted: Any) -> None:
    with pytest.raises(openai.BadRequestError, match=f"response_format {wanted} needs times"):
        client.audio.transcriptions.create(
            model="listener", file=("a.wav", recording()), response_format=wanted
        )


def test_a_language_is_refused_and_so_is_a_model_of_another_task(client: openai.OpenAI) -> None:
    create = client.audio.transcriptions.create
    with pytest.raises(openai.BadRequestError, match="'language' is not supported"):
        create(model="listener", file=("a.wav", recording()), language="en")
    with pytest.raises(openai.BadRequestError, match="16000 Hz"):
        create(model="ranker", file=("a.wav", recording()))
    with pytest.raises(openai.BadRequestError):
        create(model="listener", file=("a.wav", b"not a recording"))


def picture(encoded: str | None) -> NDArray[Any]:
    assert encoded is not None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(encoded))))


def test_pictures_are_those_of_diffusers(client: openai.OpenAI, folder: Path) -> None:
    answer = client.images.generate(
        model="painter",
        prompt="some text",
        n=2,
        response_format="b64_json",
        extra_body={"seed": 3, "num_inference_steps": 2},
    )
    assert answer.data is not None
    for place, one in enumerate(answer.data):
        own = tiny_drawing.drawn(folder / "painter", "some text", 3 + place, num_inference_steps=2)
        np.testing.assert_array_equal(picture(one.b64_json), own)


def test_the_size_of_a_picture_is_as_wanted(client: openai.OpenAI) -> None:
    answer = client.images.generate(
        model="painter",
        prompt="some text",
        size="32x16",
        extra_body={"num_inference_steps": 1},
    )
    assert answer.data is not None
    assert picture(answer.data[0].b64_json).shape == (16, 32, 3)
