"""A scikit-learn classifier for sire: a class with ``load`` and ``predict``.

sire register iris iris.joblib --runtime python --class examples/sklearn/iris.py:Iris
"""

import joblib
import numpy as np


class Iris:
    inputs = ("float32[-1,4]",)  # length and width of sepal and petal, in cm
    outputs = ("species:string[-1]", "probability:float32[-1]")

    def load(self, path: str) -> None:
        # A joblib file is a pickle, and loading it runs code in it: load only your own files.
        self.model = joblib.load(path)

    def predict(self, measures: np.ndarray) -> dict[str, np.ndarray]:
        probabilities = self.model.predict_proba(measures)
        species = self.model.classes_[probabilities.argmax(axis=1)]
        return {"species": species, "probability": probabilities.max(axis=1).astype(np.float32)}

    def warmup(self) -> None:
        self.predict(np.zeros((1, 4), np.float32))
