"""The two models everything is measured with; their weights are random, which costs the same."""

import time
from typing import Any

import torch
from torch import Tensor, nn


class Perceptron(nn.Module):
    """768 → 1024 → 768: 3 KB in, 3 KB out, about 1.6 million weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(768, 1024), nn.ReLU(), nn.Linear(1024, 768))

    def forward(self, x: Tensor) -> Any:
        """Run the layers one after the other."""
        return self.layers(x)


class SmallCnn(nn.Module):
    """One image of 600 KB in (float32 [1, 3, 224, 224]), ten numbers out.

    It multiplies about 40 million times, which takes a CPU core half a millisecond.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 32, kernel_size=7, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 32, kernel_size=3),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(32, 10),
        )

    def forward(self, x: Tensor) -> Any:
        """Run the layers one after the other."""
        return self.layers(x)


class Sleeper(Perceptron):
    """Keeps its worker for a second without computing anything."""

    def forward(self, x: Tensor) -> Any:
        """Give back what it was given, a second later."""
        time.sleep(1.0)
        return x


class Table(nn.Module):
    """One parameter of 1 GiB, of which it answers with one number a row."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.empty(1 << 28))

    def forward(self, x: Tensor) -> Any:
        """Look the rows up."""
        return self.table[x.long()]


class Blocks(nn.Module):
    """N equal vectors of bfloat16; their first numbers are added to the input."""

    def __init__(self, blocks: int, length: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            torch.empty(length, dtype=torch.bfloat16) for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> Any:
        """Add the first number of every block."""
        for block in self.weights:
            x = x + block[0].float()
        return x
