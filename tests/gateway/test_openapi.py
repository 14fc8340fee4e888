"""/openapi.json tells the truth: every path is in it, and answers are as it says."""

import html.parser
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import requests
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.gateway import texts
from tests.gateway.serving import Serving, serving
from tests.home import Home

pytestmark = pytest.mark.xdist_group("transformers")

MODELS = ["echo", "writer", "embedder", "none"]
CODE = """
class Echo:
    def load(self, path):
        pass

    def predict(self, data):
        return data
"""
CONFORM = [status_code_conformance, content_type_conformance, response_schema_conformance]
# Refused by name, busy, too late, too large: not failures of the gateway.
TYPED = {501, 503, 504, 507}


@pytest.fixture(scope="module")
def server(
    gateway_home: Home, text_models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("openapi")
    (folder / "echo.py").write_text(CODE)
    gateway_home.register("echo", folder / "echo.py")
    texts.register(gateway_home, text_models)
    with serving(gateway_home) as running:
        yield running


def operations(server: Serving) -> Iterator[Any]:
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()
        if not operation.path.startswith("/upstream"):  # what a program answers is its own
            yield operation


def named(case: Any, model: str) -> None:
    """Have a request name one of the models that there are."""
    if "name" in (case.path_parameters or {}):
        case.path_parameters["name"] = model
    if isinstance(case.body, dict) and isinstance(case.body.get("model"), str):
        case.body["model"] = model


def hold_to_it(server: Serving, examples: int) -> None:
    """Send each operation requests of all kinds, valid and not, and check the answers."""
    limits = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    for operation in operations(server):

        @limits
        @hypothesis.given(operation.as_strategy(), st.sampled_from(MODELS))
        def check(case: Any, model: str) -> None:
            named(case, model)
            answer = case.call(timeout=120)
            checks = CONFORM if answer.status_code in TYPED else [not_a_server_error, *CONFORM]
            case.validate_response(answer, checks=checks)

        check()


def test_requests_of_every_kind_are_answered_as_it_says(server: Serving) -> None:
    hold_to_it(server, 8)
    assert server.get("/health").status == 200


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_requests_of_every_kind_are_answered_as_it_says(server: Serving) -> None:
    hold_to_it(server, 100)
    assert server.get("/health").status == 200


def test_every_path_is_in_it_with_a_summary(server: Serving) -> None:
    whole = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    assert {"/v1/chat/completions", "/v2/models/{name}/infer", "/docs"} <= whole["paths"].keys()
    for path, item in whole["paths"].items():
        for method, operation in item.items():
            assert operation["summary"], (method, path)
    ids = [one["operationId"] for item in whole["paths"].values() for one in item.values()]
    assert len(set(ids)) == len(ids)


def test_the_body_of_a_chat_is_that_which_the_gateway_reads(server: Serving) -> None:
    whole = requests.get(f"{server.url}/openapi.json", timeout=60).json()
    chat = whole["components"]["schemas"]["ChatRequest"]
    assert set(chat["required"]) == {"model", "messages"}
    assert {"temperature", "stream", "stop", "seed"} <= set(chat["properties"])


def test_the_page_has_every_path_and_loads_nothing_from_elsewhere(server: Serving) -> None:
    answer = requests.get(f"{server.url}/docs", timeout=60)
    assert answer.headers["content-type"].startswith("text/html")
    seen: list[str] = []

    class Links(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in {"script", "iframe", "img", "object"}
            seen.extend(value or "" for name, value in attrs if name in {"href", "src"})

    Links().feed(answer.text)
    assert seen == ["openapi.json"]
    assert "url(" not in answer.text
    assert "@import" not in answer.text
    for path in requests.get(f"{server.url}/openapi.json", timeout=60).json()["paths"]:
        assert f"<code>{path}</code>" in answer.text


def test_they_need_no_key_and_say_that_others_do(
    gateway_home: Home, server: Serving, tmp_path: Path
) -> None:
    file = tmp_path / "keys.json"
    gateway_home.sire("key", "add", "me", "--file", file)
    with serving(gateway_home, "--keys", str(file)) as running:
        whole = json.loads(running.get("/openapi.json").body)
        assert whole["security"] == [{"key": []}]
        assert running.get("/docs").status == 200
        assert running.get("/v1/models").status == 401
