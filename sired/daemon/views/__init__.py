"""The daemon's state as replies of the protocol."""

from sired.daemon.views.devices import devices
from sired.daemon.views.instances import instance, instances
from sired.daemon.views.metrics import metrics
from sired.daemon.views.models import estimate, model, models, registered
from sired.daemon.views.server import health, top
from sired.daemon.views.statistics import stats

__all__ = [
    "devices",
    "estimate",
    "health",
    "instance",
    "instances",
    "metrics",
    "model",
    "models",
    "registered",
    "stats",
    "top",
]
