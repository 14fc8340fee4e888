"""A GPU that answers its driver and on which nothing can be loaded rests for a time."""

from sire.errors import DeviceNotFound, LoadFailed
from sired.scheduler import events
from sired.scheduler.instructions import Instruction, StartWorker
from tests.unit.sired.scheduler.conftest import Driver, failures, of_kind

GPUS = (("cuda:0", "cuda", 100), ("cuda:1", "cuda", 60))
BUSY = "CUDA-capable device(s) is/are busy or unavailable"


def device_fails(d: Driver, instance: int) -> list[Instruction]:
    """A load shows that its device cannot be used."""
    return d.handle(events.WorkerLoadFailed(instance, LoadFailed("no"), device_failure=BUSY))


def test_a_gpu_on_which_nothing_can_be_loaded_rests_and_the_load_goes_elsewhere(
    driver: type[Driver],
) -> None:
    d = driver(GPUS, retry_after=5.0)
    model = d.add("a", 40)
    (first,) = of_kind(StartWorker, d.request("a")[1])
    assert first.device == "cuda:0"  # the emptiest, as a broken one always is
    (second,) = of_kind(StartWorker, device_fails(d, first.instance))
    assert second.device == "cuda:1"
    d.gone(first.instance)
    assert model.backoff.failed_loads == 0
    d.ready(second.instance)
    d.add("b", 20)
    assert of_kind(StartWorker, d.request("b")[1])[0].device == "cuda:1"
    d.now += 6
    d.handle(events.MemorySampled({}))
    d.add("c", 30)
    assert of_kind(StartWorker, d.request("c")[1])[0].device == "cuda:0"


def test_a_model_that_names_a_gpu_on_which_nothing_can_be_loaded_fails_with_its_reason(
    driver: type[Driver],
) -> None:
    d = driver(GPUS)
    d.add("a", 40, device="cuda:0")
    request, instructions = d.request("a")
    (start,) = of_kind(StartWorker, instructions)
    error = failures(device_fails(d, start.instance))[request]
    assert error.message == f"CUDA cannot be used on cuda:0: {BUSY}."
    d.gone(start.instance)
    again, instructions = d.request("a")
    assert isinstance(failures(instructions)[again], DeviceNotFound)
    assert BUSY in failures(instructions)[again].message


def test_a_load_that_names_its_device_does_not_go_elsewhere(driver: type[Driver]) -> None:
    d = driver(GPUS)
    d.add("a", 40)
    operation, instructions = d.operation("a", device="cuda:0")
    (start,) = of_kind(StartWorker, instructions)
    assert operation in failures(device_fails(d, start.instance))


def test_where_no_gpu_can_be_used_a_model_goes_to_the_cpu_or_fails_with_the_reason(
    driver: type[Driver],
) -> None:
    d = driver((("cuda:0", "cuda", 100), ("cpu", "cpu", 50)))
    d.add("small", 40)
    d.add("large", 60)
    (start,) = of_kind(StartWorker, d.request("small")[1])
    (again,) = of_kind(StartWorker, device_fails(d, start.instance))
    assert again.device == "cpu"
    d.gone(start.instance)
    d.now += 60
    d.handle(events.MemorySampled({}))
    request, instructions = d.request("large")
    (start,) = of_kind(StartWorker, instructions)
    assert BUSY in failures(device_fails(d, start.instance))[request].message


def test_what_runs_on_a_gpu_that_rests_goes_on(driver: type[Driver]) -> None:
    """As in exclusive mode, where the first model has the GPU for itself."""
    d = driver((("cuda:0", "cuda", 100), ("cpu", "cpu", 50)))
    d.add("first", 20)
    d.add("second", 20)
    instance = d.load("first")
    (start,) = of_kind(StartWorker, d.request("second")[1])
    device_fails(d, start.instance)
    request, _ = d.request("first")
    assert [r.id for r in d.instances[instance].in_flight] == [request]
