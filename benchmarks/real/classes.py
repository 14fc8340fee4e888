"""The classes that serve models of frameworks that sire has no runtime for."""

from pathlib import Path
from typing import Any

import numpy as np


class Profanity:
    """Tells how probable it is that a text is profane, with two joblib files."""

    def load(self, path: str) -> None:
        """Load the classifier, and the vectorizer beside it.

        Args:
            path: the classifier's file.
        """
        import joblib

        self.model: Any = joblib.load(path)
        self.vectorizer: Any = joblib.load(Path(path).with_name("vectorizer.joblib"))

    def predict(self, text: str) -> np.ndarray:
        """Return the probability of a text."""
        probabilities: np.ndarray = self.model.predict_proba(self.vectorizer.transform([text]))
        return probabilities[:, 1]


class Clouds:
    """Tells how probable it is that pixels of a satellite show clouds, with a LightGBM file."""

    def load(self, path: str) -> None:
        """Load the trees.

        Args:
            path: their file.
        """
        import lightgbm

        self.trees: Any = lightgbm.Booster(model_file=path)

    def predict(self, pixels: np.ndarray) -> np.ndarray:
        """Return the probability of each pixel."""
        probabilities: np.ndarray = self.trees.predict(pixels)
        return probabilities.astype(np.float32)
