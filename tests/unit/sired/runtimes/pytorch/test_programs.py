"""Programs of torch.export on another device than the one they were exported on."""

from pathlib import Path

import torch

from sire.spec import Signature
from sired.runtimes.pytorch.model import TorchLoad
from sired.runtimes.pytorch.programs import load_exported
from sired.runtimes.reading import ReadProgress


class Positions(torch.nn.Module):
    """Adds positions that it makes itself, as masks and encodings are made."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        moved: torch.Tensor = self.linear(x)
        return moved + torch.arange(x.shape[1], device=x.device)


def test_what_a_program_makes_itself_is_made_on_the_device_it_runs_on(tmp_path: Path) -> None:
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(Positions().eval(), (torch.zeros(2, 4),)), path)
    model = load_exported(
        TorchLoad(
            path=str(path),
            device=torch.device("meta"),  # stands in for a GPU: it mixes with the CPU no better
            model_class=None,
            python_path=(),
            trusted=True,
            arguments={},
            declared=Signature(),
            progress=ReadProgress(lambda *_: None),
        )
    )
    answer = model.call(torch.zeros(2, 4, device="meta"))
    assert (answer.device.type, tuple(answer.shape)) == ("meta", (2, 4))
