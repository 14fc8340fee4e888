"""The scheduler's entry of a registered model, with the memory that was measured for it."""

from sire.spec import ModelSpec, instance_bounds, keep_alive_seconds
from sired.daemon.services import Services
from sired.runtimes.discovery import all_traits, is_out_of_process
from sired.scheduler import events
from sired.scheduler.entities.model import Model
from sired.scheduler.memory.placer import KINDS_BEST_FIRST


def add_to_scheduler(services: Services, spec: ModelSpec) -> None:
    """Add a registered model to the scheduler, or replace it there."""
    services.results.renew(spec)
    services.conductor.feed(events.ModelAdded(scheduler_entry(services, spec)))


def scheduler_entry(services: Services, spec: ModelSpec) -> Model:
    """The scheduler's entry of a model."""
    # Of every kind, because a GPU can appear later.
    measured = {kind: services.footprints.get(spec, kind) for kind in KINDS_BEST_FIRST}
    fewest, most = instance_bounds(spec.instances)
    return Model(
        name=spec.name,
        device=spec.device,
        group=spec.group,
        declared=spec.max_memory,
        weights=spec.weight_bytes,
        everything=spec.weights_reported,
        process={"cpu": _import_bytes(services, spec)},
        learned={kind: size for kind, size in measured.items() if size is not None},
        keep_alive=keep_alive_seconds(spec.keep_alive),
        pinned=spec.pinned,
        priority=spec.priority,
        weight=spec.weight,
        min_instances=fewest,
        max_instances=most,
        batch_size=1 if spec.alone else spec.batch_size,
        batch_delay=0.0 if spec.alone else spec.batch_delay,
        concurrency=spec.concurrency,
        pipelined=not is_out_of_process(spec.runtime),
    )


def _import_bytes(services: Services, spec: ModelSpec) -> int:
    """Main memory that a worker takes for what the fork server does not import for it."""
    traits = next((known for known in all_traits() if known.name == spec.runtime), None)
    if traits is None or services.zygote.imports(traits):
        return 0
    return traits.import_bytes
