"""Small models, each for one behaviour that only a real GPU shows."""

from pathlib import Path
from typing import Any

import torch


class Ones(torch.nn.Module):
    """Adds the first of ``width`` weights to its input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(width))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Numbers of any shape, each plus the first weight."""
        return values + self.weight[0].float()


class Rows(torch.nn.Module):
    """Looks rows up; on a GPU an index that does not exist poisons the CUDA context."""

    def __init__(self) -> None:
        super().__init__()
        self.table = torch.nn.Embedding(4, 4)

    def forward(self, index: torch.Tensor) -> torch.Tensor:
        """Four numbers for each of the indices, which may be of any shape."""
        return torch.nn.functional.embedding(index.long(), self.table.weight)


class Hungry(torch.nn.Module):
    """Allocates as many GiB as its input says."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.empty(1))

    def forward(self, gibibytes: torch.Tensor) -> torch.Tensor:
        """The number itself, once that many GiB were allocated."""
        count = int(gibibytes.flatten()[0].item()) << 28
        taken = torch.empty(count, dtype=torch.float32, device=self.weight.device)
        return gibibytes + taken[:1].fill_(0.0) + self.weight


class Plain:
    """Computes without the GPU that it is given; registered for the runtime ``python``."""

    def load(self, path: str) -> None:
        """Keep the file in main memory."""
        self.content = Path(path).read_bytes()

    def predict(self, values: Any) -> Any:
        """The numbers themselves."""
        return values
