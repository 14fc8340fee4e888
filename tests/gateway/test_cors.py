"""Web pages of other sites: those that are named may use the gateway, and no others."""

from collections.abc import Iterator

import pytest

from tests.gateway.serving import Serving, serving
from tests.gateway.test_limits import PATH, ROWS
from tests.home import Home

PAGE = "https://chat.example:3000"
PREFLIGHT = {
    "origin": PAGE,
    "access-control-request-method": "POST",
    "access-control-request-headers": "authorization, content-type",
}


@pytest.fixture(scope="module")
def open_to_page(served: Serving) -> Iterator[Serving]:
    with serving(served.home, "--cors", PAGE, "--cors", "app://obsidian.md") as running:
        yield running


def test_a_page_that_is_named_is_answered_and_may_read_the_answer(open_to_page: Serving) -> None:
    answer = open_to_page.post(PATH, ROWS, origin=PAGE)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "Origin" in answer.headers["vary"]
    assert open_to_page.post(PATH, ROWS, origin="app://obsidian.md").status == 200
    missing = open_to_page.post("/models/none/predict", ROWS, origin=PAGE)
    assert (missing.status, missing.headers["access-control-allow-origin"]) == (404, PAGE)


@pytest.mark.parametrize("origin", ["https://evil.example", "https://chat.example", "null"])
def test_others_are_refused(open_to_page: Serving, origin: str) -> None:
    refused = open_to_page.post(PATH, ROWS, origin=origin)
    assert refused.status == 403
    assert "access-control-allow-origin" not in refused.headers


def test_a_browser_that_asks_first_is_told_what_the_page_may_send(open_to_page: Serving) -> None:
    told = open_to_page.ask("OPTIONS", PATH, headers=PREFLIGHT)
    assert (told.status, told.headers["access-control-allow-origin"]) == (204, PAGE)
    assert told.headers["access-control-allow-headers"] == "authorization, content-type"
    assert "POST" in told.headers["access-control-allow-methods"]


def test_without_the_option_no_page_may_ask(served: Serving) -> None:
    refused = served.ask("OPTIONS", PATH, headers=PREFLIGHT)
    assert refused.status == 403
    assert not [name for name in refused.headers if name.startswith("access-control")]


def test_what_is_not_an_origin_or_is_all_of_them_without_keys_is_refused(
    gateway_home: Home,
) -> None:
    for origin, said in (("chat.example", "not an origin"), ("*", "every web page")):
        done = gateway_home.sire("serve", "--listen", "127.0.0.1:0", "--cors", origin, code=2)
        assert said in done.stderr.decode()
