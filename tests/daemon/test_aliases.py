"""Aliases: other names for models, with fall-backs and weights."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sire import ModelManager
from sire.client.connection import Connection
from sire.errors import InvalidInput, ModelExists, ModelNotFound
from sire.protocol.aliases import Alias, AliasList, Resolve, SetAlias, WeightedModel
from sire.protocol.replies import ModelInfo, Prediction
from sire.protocol.requests import Predict, Unload
from tests.home import Home
from tests.waiting import wait_until

Register = Callable[..., None]
BROKEN = """
class Broken:
    def load(self, path):
        raise OSError("the disk is gone")

    def predict(self, data):
        return data
"""


def predict(connection: Connection, name: str) -> tuple[str, float]:
    """The model that answered, and the factor by which it did."""
    reply, frames = connection.predict(Predict(model=name), [b"[[8, 8, 8, 8]]"])
    assert isinstance(reply, Prediction)
    return reply.model, json.loads(bytes(frames[0]))[0][0] / 8


def share(home: Home, name: str, count: int) -> dict[str, int]:
    """Which models answer so many requests."""
    with home.connect() as connection:
        return dict(Counter(predict(connection, name)[0] for _ in range(count)))


@pytest.fixture
def broken(home: Home, tmp_path: Path) -> str:
    (tmp_path / "broken.py").write_text(BROKEN)
    home.register("broken", tmp_path / "broken.py", "--class", f"{tmp_path}/broken.py:Broken")
    return "broken"


def test_an_alias_is_a_name_for_a_model_wherever_one_is_taken(
    home: Home, register: Register
) -> None:
    register("twice", 2)
    home.sire("alias", "set", "chat", "twice")
    assert home.sire("predict", "chat", "-i", "-", stdin=b"[[1, 1, 1, 1]]").stdout.startswith(
        b"[[2"
    )
    with ModelManager(home=home.path) as manager:
        assert manager.predict("chat", [[1.0, 1, 1, 1]]).tolist() == [[2, 2, 2, 2]]
        assert [row.tolist() for row in manager.predict_many("chat", [[[1.0] * 4]] * 2)] == [
            [[2, 2, 2, 2]]
        ] * 2
        with manager.acquire("chat") as instance:
            assert instance.predict([[1.0] * 4]).tolist() == [[2, 2, 2, 2]]
        job = manager.submit("chat", [[1.0] * 4])
        assert manager.wait_job(job).model == "twice"
    assert home.json("show", "chat")["model"]["name"] == "twice"
    assert home.json("stats", "chat")["model"] == "twice"
    home.sire("unload", "chat")
    assert home.json("ps") == []


def test_the_answer_names_the_model_also_over_a_direct_connection(
    home: Home, register: Register
) -> None:
    register("twice", 2)
    register("thrice", 3)
    home.sire("alias", "set", "chat", "twice")
    with home.connect() as connection:
        assert {predict(connection, "chat") for _ in range(20)} == {("twice", 2)}
        home.sire("alias", "set", "chat", "thrice")
        assert predict(connection, "chat") == ("thrice", 3)


def test_the_first_model_that_can_serve_answers(
    home: Home, register: Register, broken: str
) -> None:
    register("huge", 2, "Scale", "--max-memory", "900TiB")
    register("twice", 2)
    home.sire("alias", "set", "chat", "nobody", "huge", broken, "twice")
    with home.connect() as connection:
        # That it is broken shows when it is loaded, and the same request is answered nevertheless.
        assert predict(connection, "chat") == ("twice", 2)
        assert predict(connection, "chat") == ("twice", 2)
        register("nobody", 3)
        assert predict(connection, "chat") == ("nobody", 3)
    (state,) = home.json("alias", "ls")
    assert state["serves"] == "nobody"
    assert "more memory" in state["problems"]["huge"]


def test_without_another_model_the_error_is_that_of_the_first(home: Home, broken: str) -> None:
    home.sire("alias", "set", "chat", "nobody", broken)
    done = home.sire("predict", "chat", "-i", "-", stdin=b"[1]", code=9)
    assert b"the disk is gone" in done.stderr
    home.sire("rm", broken)
    done = home.sire("predict", "chat", "-i", "-", stdin=b"[1]", code=3)
    assert b"None of the models of the alias chat is registered: nobody, broken" in done.stderr


def test_an_error_of_the_input_is_not_tried_elsewhere(home: Home, register: Register) -> None:
    register("moody", 2, "Moody")
    register("twice", 2)
    home.sire("alias", "set", "chat", "moody", "twice")
    done = home.sire("predict", "chat", "-i", "-", stdin=b"[[1, 1, 1, 1]]", code=5)
    assert b"no ones, please" in done.stderr


def test_weights_spread_requests_in_proportion(home: Home, register: Register) -> None:
    for name, factor in (("one", 1), ("two", 2), ("three", 3)):
        register(name, factor)
    home.sire("alias", "set", "even", "one", "two", "--routing", "round-robin")
    assert share(home, "even", 6) == {"one": 3, "two": 3}
    home.sire("alias", "set", "uneven", "one=1", "two=3", "three=0")
    assert share(home, "uneven", 12) == {"one": 3, "two": 9}
    home.sire("rm", "one", "two")
    assert share(home, "uneven", 2) == {"three": 2}


def test_a_model_that_was_away_does_not_catch_up(home: Home, register: Register) -> None:
    register("one", 1)
    home.sire("alias", "set", "even", "one=1", "two=1")
    assert share(home, "even", 8) == {"one": 8}
    register("two", 2)
    assert share(home, "even", 8) == {"one": 4, "two": 4}


def test_the_least_loaded_model_is_chosen(home: Home, register: Register, gate: Any) -> None:
    register("busy", 2, "Moody")
    register("idle", 2, "Moody")
    home.sire("alias", "set", "chat", "busy", "idle", "--routing", "least-loaded")
    gate.close()
    with ModelManager(home=home.path) as manager:
        waiting = manager.submit_async("busy", [[5.0] * 4])
        wait_until(lambda: any(one["state"] == "busy" for one in home.json("ps")))
        assert share(home, "chat", 3) == {"idle": 3}
        gate.open()
        waiting.result(90)


def test_names_are_taken_once(home: Home, register: Register, zoo: Path) -> None:
    register("twice", 2)
    home.sire("alias", "set", "chat", "twice")
    done = home.sire("alias", "set", "twice", "chat", code=9)
    assert b"A model 'twice' is already registered" in done.stderr
    for options in ((), ("--replace",)):
        weights, kind = zoo / "x2.safetensors", f"{zoo}/classes.py:Scale"
        done = home.sire("register", "chat", weights, "--class", kind, *options, code=9)
        assert b"chat is an alias of twice" in done.stderr
    done = home.sire("alias", "set", "other", "chat", code=10)
    assert b"chat is an alias itself" in done.stderr


def test_what_is_not_valid_is_refused(home: Home, register: Register) -> None:
    register("twice", 2)
    for arguments, code, message in (
        (("chat", "a", "a"), 10, "each of them once"),
        (("chat", "a=0"), 10, "weight 0"),
        (("chat", "a=x"), 2, "not a weight"),
        (("chat", "a=-1"), 2, "not a weight"),
        (("chat", "a", "--routing", "least-load"), 2, "Did you mean least-loaded?"),
        (("-chat", "a"), 2, "No such option"),
    ):
        done = home.sire("alias", "set", *arguments, code=code)
        assert message in done.stderr.decode(), arguments
    done = home.sire("alias", "rm", "chta", code=3)
    assert b"There is no alias 'chta'" in done.stderr


def test_what_is_about_one_model_does_not_take_an_alias_of_several(
    home: Home, register: Register
) -> None:
    register("twice", 2)
    home.sire("alias", "set", "chat", "twice", "other")
    with home.connect() as connection, pytest.raises(InvalidInput, match="several models"):
        connection.ask(Unload(name="chat"))


def test_aliases_are_listed_and_removed(home: Home, register: Register) -> None:
    register("twice", 2)
    home.sire("alias", "set", "chat", "twice=2", "other=1")
    listed = home.sire("ls").stdout.decode()
    assert "of twice, other" in listed
    assert "round-robin" in listed
    assert "twice=2, other" in home.sire("alias", "ls").stdout.decode()
    home.sire("alias", "rm", "chat")
    assert home.json("alias", "ls") == []
    done = home.sire("predict", "chat", "-i", "-", stdin=b"[1]", code=3)
    assert b"No model 'chat' is registered" in done.stderr


def test_a_client_can_have_other_models_than_those_that_failed(
    home: Home, register: Register
) -> None:
    register("one", 1)
    register("two", 2)
    models = (WeightedModel("one"), WeightedModel("two"))
    with home.connect() as connection:
        connection.expect(AliasList, SetAlias(alias=Alias("chat", models)))
        found = connection.expect(ModelInfo, Resolve(name="chat", but=("one",)))
        assert found.model.name == "two"
        with pytest.raises(ModelNotFound, match="No other model"):
            connection.ask(Resolve(name="chat", but=("one", "two")))
        with pytest.raises(ModelExists):
            connection.ask(SetAlias(alias=Alias("one", models)))


@pytest.mark.own_daemon
def test_aliases_outlive_the_daemon(home: Home, register: Register) -> None:
    register("twice", 2)
    home.sire("alias", "set", "chat", "twice", "--routing", "least-loaded")
    before = home.json("alias", "ls")
    home.sire("daemon", "restart")
    assert home.json("alias", "ls") == before
    assert share(home, "chat", 2) == {"twice": 2}


@pytest.mark.own_daemon
def test_a_damaged_file_is_reported_and_kept(home: Home) -> None:
    home.paths.data.mkdir(parents=True)
    home.paths.aliases.write_text("[{]")
    home.sire("daemon", "start")
    assert any("aliases.json cannot be read" in one for one in home.json("health")["problems"])
    done = home.sire("alias", "set", "chat", "twice", code=2)
    assert b"Mend or delete the file" in done.stderr
    assert home.paths.aliases.read_text() == "[{]"


@pytest.mark.own_daemon
def test_another_package_can_add_a_routing(
    home: Home, register: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "def last(choices):\n    return max(choices, key=lambda one: one.model)\n"
    (tmp_path / "others.py").write_text(source)
    metadata = tmp_path / "others-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text("[sire.routing]\nlast = others:last\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    register("a", 1)
    register("b", 2)
    home.sire("alias", "set", "chat", "b", "a", "--routing", "last")
    assert share(home, "chat", 3) == {"b": 3}
