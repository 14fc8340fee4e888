"""Models that one process has several requests of under way, in threads."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sire import ModelManager
from sire.protocol.content import JSON
from sire.protocol.requests import Predict
from tests.contract.tiny_graphs import write_network
from tests.home import Home

MEETING = """
import threading
import torch


class Meeting(torch.nn.Module):
    '''Answers how many were in here together, and the threads it may compute with.'''

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.here = self.most = 0
        self.changed = threading.Condition()

    def forward(self, x):
        wanted, patience = x.flatten().tolist()
        with self.changed:
            self.here += 1
            self.most = max(self.most, self.here)
            self.changed.notify_all()
            self.changed.wait_for(lambda: self.most >= wanted, patience)
            most = self.most
            self.here -= 1
            self.most = self.most if self.here else 0
            return torch.tensor([[most, torch.get_num_threads()]])
"""
PATIENCE_SECONDS = 20.0


@pytest.fixture
def meeting(home: Home, tmp_path: Path, new_name: str) -> str:
    """Register a model that two requests at a time may be in, and have it know that it is slow."""
    (tmp_path / "meeting.py").write_text(MEETING)
    save_file({"weight": torch.ones(1)}, tmp_path / "meeting.safetensors")
    kind = f"{tmp_path / 'meeting.py'}:Meeting"
    home.register(new_name, tmp_path / "meeting.safetensors", "--class", kind, "--concurrency", "2")
    with ModelManager(home=home.path) as manager:
        assert ask(manager, new_name, 2, 0.05) == [1, os.cpu_count()]
    return new_name


def ask(
    manager: ModelManager, name: str, wanted: int, patience: float = PATIENCE_SECONDS
) -> list[int]:
    counts: list[int] = manager.predict(name, [[wanted, patience]])[0].tolist()
    return counts


def test_two_requests_are_computed_together_each_on_its_part_of_the_cores(
    home: Home, meeting: str
) -> None:
    share = max(1, (os.cpu_count() or 1) // 2)
    with ModelManager(home=home.path) as manager:
        both = [manager.submit_async(meeting, [[2, PATIENCE_SECONDS]]) for _ in range(2)]
        answers = [future.result(60)[0].tolist() for future in both]
    assert [most for most, _ in answers] == [2, 2]
    assert share in [threads for _, threads in answers]


def test_clients_with_connections_of_their_own_are_served_together(
    home: Home, meeting: str
) -> None:
    meet = threading.Barrier(2, timeout=60)

    def ask_directly(_client: int) -> int:
        request = Predict(model=meeting, content_type=JSON, accept=JSON, timeout=60.0)
        with home.connect() as connection:
            for _ in range(3):  # the first goes to the daemon, those that follow soon do not
                connection.predict(request, [json.dumps([[1, 0.01]]).encode()])
            meet.wait()
            operation = json.dumps([[2, PATIENCE_SECONDS]]).encode()
            _, frames = connection.predict(request, [operation])
            most: int = json.loads(bytes(frames[0]))[0][0]
            return most

    with ThreadPoolExecutor(2) as clients:
        assert list(clients.map(ask_directly, range(2))) == [2, 2]


def test_no_more_are_under_way_than_it_allows(home: Home, meeting: str) -> None:
    with ModelManager(home=home.path) as manager:
        three = [manager.submit_async(meeting, [[3, 0.3]]) for _ in range(3)]
        assert all(future.result(60)[0][0] < 3 for future in three)


def test_huggingface_models_answer_one_at_a_time(home: Home, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert", "architectures": ["BertModel"]}')
    save_file({"w": torch.ones(1)}, tmp_path / "model.safetensors")
    (tmp_path / "tokenizer.json").write_text('{"model": {}}')
    given = (tmp_path, "--arg", "task=feature-extraction", "--concurrency", "2")
    said = home.sire("register", "m", *given, code=9)
    assert b"one request at a time" in said.stderr


def test_a_graph_computed_in_several_threads_answers_each_its_own(
    home: Home, tmp_path: Path, new_name: str
) -> None:
    write_network(tmp_path / "network.onnx")
    home.register(new_name, tmp_path / "network.onnx", "--concurrency", "3")
    random = np.random.default_rng(0)
    inputs = [random.standard_normal((1, 64, 12, 12), np.float32) for _ in range(40)]
    with ModelManager(home=home.path) as manager:
        alone = [manager.predict(new_name, data) for data in inputs]
        together = [manager.submit_async(new_name, data) for data in inputs]
        for expected, answer in zip(alone, together, strict=True):
            assert np.allclose(answer.result(60), expected, atol=1e-5)
