"""Short forms of what tests ask a daemon over a connection."""

import json

from sire.protocol.requests import Predict, Ps, Stats


def ask(connection, model, first, timeout=90.0):
    """Have a model of the zoo answer one row; returns the rows of its answer."""
    body = json.dumps([[first, 1, 1, 1]]).encode()
    _, frames = connection.ask(Predict(model=model, timeout=timeout), [body])
    return json.loads(bytes(frames[0]))


def counted(connection, model):
    """The statistics of a model."""
    return connection.ask(Stats(name=model))[0].models[0]


def instances(connection):
    """The instances that exist, loaded or not."""
    return connection.ask(Ps())[0].instances
