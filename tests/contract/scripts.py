"""TorchScript modules, some of which keep state between calls."""

import torch


class Remembers(torch.nn.Module):
    """Sets an attribute, as recurrent models do."""

    def __init__(self) -> None:
        super().__init__()
        self.state = torch.zeros(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.state = self.state + x
        return self.state


class Adder(torch.nn.Module):
    """Writes into a buffer."""

    total: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("total", torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.total += x
        return self.total.clone()


class Pure(torch.nn.Module):
    """Only computes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.layer(x))


class Several(torch.nn.Module):
    """Takes inputs of several types."""

    def forward(self, x: torch.Tensor, lengths: dict[str, torch.Tensor], sr: int) -> torch.Tensor:
        return x * sr + lengths["a"]


class Defaults(torch.nn.Module):
    """Has parameters that can be left out."""

    def forward(
        self, x: torch.Tensor, sr: int = 16000, other: torch.Tensor | None = None
    ) -> torch.Tensor:
        return x * sr if other is None else other
