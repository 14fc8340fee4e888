"""Train two networks on scikit-learn's handwritten digits and keep ten digits as PNG files.

Usage: python examples/digits/train.py DIRECTORY

Writes ``digits.safetensors`` (for ``model.py:DigitNet``), ``digits.onnx`` and
``png/<digit>-<number>.png``, one of each digit, none of which the networks saw in training.
"""

import logging
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from model import DigitNet, DigitPerceptron
from PIL import Image
from safetensors.torch import save_model
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

WORST_ACCURACY = 0.95
EPOCHS = 40
BATCH = 64


def main(directory: Path) -> None:
    torch.manual_seed(0)
    pixels, digits = _pixels()
    train_pixels, test_pixels, train_digits, test_digits = train_test_split(
        pixels, digits, test_size=0.25, random_state=0, stratify=digits
    )
    (directory / "png").mkdir(parents=True, exist_ok=True)
    _write_png_files(directory / "png", test_pixels, test_digits)

    known = _tensors(train_pixels, train_digits)
    unseen = _tensors(test_pixels, test_digits)
    network = _train(DigitNet(), known, unseen)
    save_model(network, str(directory / "digits.safetensors"))
    _save_onnx(_train(DigitPerceptron(), known, unseen), str(directory / "digits.onnx"))


def _pixels() -> tuple[np.ndarray, np.ndarray]:
    """Return the data set: 8-bit grey images [n, 8, 8] and the digits they show [n].

    The set counts ink from 0 to 16. Going through 8 bits here trains the networks on the very
    numbers that come out of a PNG file: pixel / 255.
    """
    data = load_digits()
    return np.round(data.images * 255 / 16).astype(np.uint8), data.target


def _tensors(pixels: np.ndarray, digits: np.ndarray) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(pixels).float().unsqueeze(1) / 255, torch.from_numpy(digits)


def _train(
    network: nn.Module, known: tuple[Tensor, Tensor], unseen: tuple[Tensor, Tensor]
) -> nn.Module:
    """Train the network, and check that it reads digits it was not trained on."""
    images, digits = known
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(len(images)).split(BATCH):
            optimiser.zero_grad()
            nn.functional.cross_entropy(network.logits(images[chosen]), digits[chosen]).backward()
            optimiser.step()
    network.eval()
    with torch.inference_mode():
        accuracy = (network(unseen[0])["digit"] == unseen[1]).float().mean().item()
    print(f"{type(network).__name__}: {accuracy:.1%} of {len(unseen[1])} unseen digits are right")
    if accuracy < WORST_ACCURACY:
        sys.exit(f"That is less than the {WORST_ACCURACY:.0%} it should be.")
    return network


def _write_png_files(directory: Path, pixels: np.ndarray, digits: np.ndarray) -> None:
    for digit in range(10):
        number = int(np.flatnonzero(digits == digit)[0])
        Image.fromarray(pixels[number]).save(directory / f"{digit}-{number}.png")


def _save_onnx(model: nn.Module, path: str) -> None:
    """Write a network as ONNX, for batches of any size."""
    torch.onnx.export(
        model,
        (torch.zeros(2, 1, 8, 8),),
        path,
        input_names=["image"],
        output_names=["digit", "probability"],
        dynamic_shapes={"image": {0: torch.export.Dim("batch")}},
        external_data=False,
        verbose=False,
    )


if __name__ == "__main__":
    # The ONNX exporter prints warnings that do not matter here.
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    main(Path(sys.argv[1]))
