"""Train a classifier of iris flowers, in about a second, and write it as a joblib file.

Usage: python examples/sklearn/train.py FILE
"""

import sys

import joblib
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier

flowers = load_iris()
species = flowers.target_names[flowers.target]
model = RandomForestClassifier(n_estimators=25, random_state=0).fit(flowers.data, species)
joblib.dump(model, sys.argv[1])
