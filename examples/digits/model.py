"""Two small networks that read handwritten digits; their weights come from ``train.py``."""

from torch import Tensor, nn


def _answer(logits: Tensor) -> dict[str, Tensor]:
    """Return the most likely digit of each image, and its probability (0..1)."""
    probability, digit = logits.softmax(dim=1).max(dim=1)
    return {"digit": digit, "probability": probability}


class DigitNet(nn.Module):
    """A convolutional network.

    Takes ``image``, float32 [batch, 1, 8, 8], ink from 0 (none) to 1. Gives ``digit``, int64
    [batch], and ``probability``, float32 [batch].
    """

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.logits = nn.Sequential(
            nn.Conv2d(1, channels, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, kernel_size=3, padding=1, stride=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2 * channels * 4 * 4, 10),
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return _answer(self.logits(image))


class DigitPerceptron(nn.Module):
    """A multilayer perceptron with the inputs and outputs of ``DigitNet``."""

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.logits = nn.Sequential(
            nn.Flatten(), nn.Linear(8 * 8, width), nn.ReLU(), nn.Linear(width, 10)
        )

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return _answer(self.logits(image))
