"""Makes registered models known to the brain, with what was learned of their needs."""

from sire.spec import ModelSpec, instance_bounds, keep_alive_seconds
from sired.daemon.services import Services
from sired.scheduler import events
from sired.scheduler.entities.model import Model


def introduce(services: Services, spec: ModelSpec) -> None:
    """Make a registered model known to the brain."""
    services.results.renew(spec)
    services.conductor.feed(events.ModelAdded(as_known(services, spec)))


def as_known(services: Services, spec: ModelSpec) -> Model:
    """A model as the brain knows it."""
    kinds = {device.hardware.kind for device in services.inventory.devices}
    measured = {kind: services.footprints.get(spec, kind) for kind in kinds}
    fewest, most = instance_bounds(spec.instances)
    return Model(
        name=spec.name,
        device=spec.device,
        declared=spec.max_memory,
        weights=spec.weight_bytes,
        learned={kind: size for kind, size in measured.items() if size is not None},
        keep_alive=keep_alive_seconds(spec.keep_alive),
        pinned=spec.pinned,
        priority=spec.priority,
        weight=spec.weight,
        min_instances=fewest,
        max_instances=most,
        batch_size=spec.batch_size,
        batch_delay=spec.batch_delay,
        concurrency=spec.concurrency,
    )
