"""A class that draws random numbers draws those that it draws in a process of its own."""

import json
from pathlib import Path

import numpy as np

from tests.field.torch_truth import run
from tests.home import Home

CLASSES = """
import random
import numpy, torch

class Features(torch.nn.Module):
    "A trained body, and a fixed random projection that is made from a seed instead of being saved."
    def __init__(self):
        super().__init__()
        torch.manual_seed(0); numpy.random.seed(1); random.seed(2)
        self.body = torch.nn.Linear(300, 300)
        self.register_buffer("projection", torch.randn(300, 3), persistent=False)
        self.shift = numpy.random.rand() + random.random()

    def forward(self, x):
        return self.body(x) @ self.projection + self.shift

class Noisy(Features):
    "Draws in each pass as well."
    def forward(self, x):
        return super().forward(x) + torch.rand(3)
"""
TRUTH = """
import json, torch, nets
torch.set_num_threads(1)
x = torch.linspace(-1, 1, 300)[None]
json.dump(x.tolist(), open("x.json", "w"))
answers = {}
for name in ("Features", "Noisy"):
    module = getattr(nets, name)()
    torch.save({k: v + 0.01 for k, v in module.state_dict().items()}, f"{name}.pt")
    module = getattr(nets, name)()
    module.load_state_dict(torch.load(f"{name}.pt"))
    answers[name] = [module.eval()(x).tolist() for _ in range(2)]
print(json.dumps(answers))
"""


def test_buffers_seeds_and_passes_have_the_numbers_of_the_process_alone(
    home: Home, tmp_path: Path
) -> None:
    (tmp_path / "nets.py").write_text(CLASSES)
    answers = run(tmp_path, TRUTH)
    x = tmp_path / "x.json"
    for name, expected in answers.items():
        kind = f"{tmp_path}/nets.py:{name}"
        home.register("m", tmp_path / f"{name}.pt", "--class", kind, "--replace")
        lines = home.sire("predict", "m", "-i", x, "-i", x).stdout.splitlines()
        np.testing.assert_allclose([json.loads(line) for line in lines], expected, rtol=1e-4)
