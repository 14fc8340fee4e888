"""What the daemon does about each request of the protocol."""

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec

from sired.config import Loaded
from sired.daemon.conductor import Conductor
from sired.daemon.jobs import Answer, Jobs
from sired.daemon.peers import Peers
from sired.daemon.pools import PoolHandlers
from sired.daemon.registering import complete, inspect
from sired.daemon.views import Views
from sired.daemon.warm_start import WarmStart
from sired.devices.inventory import Inventory
from sired.errors import Cancelled, DaemonUnavailable, DeviceNotFound, SireError
from sired.paths import Paths
from sired.protocol import requests
from sired.protocol.content import Buffer
from sired.protocol.replies import ConfigReport, Done, HealthReport, Setting, Unloaded
from sired.protocol.requests import Request
from sired.scheduler import events
from sired.scheduler.instructions import Fulfil
from sired.scheduler.model import Model
from sired.server.front import Client, Front
from sired.spec import ModelSpec, instance_bounds, keep_alive_seconds
from sired.store.footprints import Footprints
from sired.store.registry import Registry

log = logging.getLogger(__name__)


class Handlers:
    """One method per kind of request; each answers through the front, now or later."""

    def __init__(
        self,
        front: Front,
        conductor: Conductor,
        views: Views,
        registry: Registry,
        inventory: Inventory,
        footprints: Footprints,
        paths: Paths,
        settings: Loaded,
        jobs: Jobs,
        warm_start: WarmStart,
        shut_down: Callable[[], None],
    ) -> None:
        self.front = front
        self.settings = settings
        self.draining = False
        self.warm = False
        self._conductor = conductor
        self._views = views
        self._registry = registry
        self._inventory = inventory
        self._footprints = footprints
        self._paths = paths
        self._jobs = jobs
        self._warm_start = warm_start
        self._shut_down = shut_down
        self._adopt_limits()
        self._tasks: set[asyncio.Task[None]] = set()
        self._by_kind: dict[type[Any], Callable[[Client, Any, tuple[Buffer, ...]], None]] = {
            requests.Predict: self._predict,
            requests.Health: lambda client, _, __: self.front.reply(client, self._health(client)),
            requests.Register: self._register,
            requests.Estimate: lambda client, request, _: self._later(
                client, self._estimate(client, request)
            ),
            requests.Remove: self._remove,
            requests.ListModels: lambda client, _, __: self.front.reply(
                client, views.models(client.request_id)
            ),
            requests.Show: lambda client, request, _: self.front.reply(
                client, views.model(request.name, client.request_id)
            ),
            requests.Load: self._load,
            requests.Unload: self._unload,
            requests.Move: self._move,
            requests.Reload: self._reload,
            requests.Ps: lambda client, _, __: self.front.reply(
                client, views.instances(client.request_id)
            ),
            requests.Stats: lambda client, request, _: self.front.reply(
                client, views.stats(request.name, client.request_id)
            ),
            requests.Devices: lambda client, _, __: self.front.reply(
                client, views.devices(client.request_id)
            ),
            requests.Top: lambda client, _, __: self.front.reply(
                client, views.top(client.request_id, self._health(client))
            ),
            requests.ShowConfig: self._config,
            requests.Cancel: self._cancel,
            requests.WhyEnded: self._why_ended,
            requests.Shutdown: self._shutdown,
            **{kind: self._by_task(answer) for kind, answer in jobs.answers.items()},
        }
        self._peers = Peers(asyncio.get_running_loop(), self._peers_gone)
        self._pools = PoolHandlers(front, conductor, registry, self._timeout, self._peers.knows)
        self._by_kind |= self._pools.by_kind

    def __call__(self, client: Client, request: Request, payload: tuple[Buffer, ...]) -> None:
        """Take one request.

        Raises:
            SireError: it cannot be done; the front tells the client.
        """
        self._peers.see(client.connection, self.front.peer_pid)
        if isinstance(request, requests.Acquire):
            self._refuse_when_draining()
        if not isinstance(request, requests.Predict):  # it is about to be looked at
            self._conductor.usher.catch_up()
        self._by_kind[type(request)](client, request, payload)

    def _peers_gone(self, connections: frozenset[bytes]) -> None:
        """Do no more for who has ended: nobody will read the answers."""
        self._conductor.forsake(connections)
        self._pools.peers_gone(connections)

    def adopt(self, settings: Loaded) -> None:
        """Go by these settings from now on."""
        self.settings = settings
        self._views.adopt(settings)
        self._jobs.adopt(settings.settings.jobs)
        self._warm_start.adopt(settings.settings.daemon)
        self._adopt_limits()

    def _adopt_limits(self) -> None:
        settings = self.settings.settings
        self._conductor.results.resize(settings.cache.memory)
        self._conductor.instances.largest_decoded = settings.daemon.max_decoded_bytes

    def _predict(
        self, client: Client, request: requests.Predict, payload: tuple[Buffer, ...]
    ) -> None:
        self._refuse_when_draining()
        if request.model not in self._conductor.brain.models:
            self._registry.get(request.model)  # says which names come near
        self._conductor.predict(client, request, payload, self._timeout(request.timeout))

    def _timeout(self, given: float | None) -> float:
        return self.settings.settings.defaults.timeout if given is None else given

    def _refuse_when_draining(self) -> None:
        if self.draining:
            raise DaemonUnavailable("The daemon is shutting down.", hint="Try again in a moment.")

    # Models

    def _register(
        self, client: Client, request: requests.Register, payload: tuple[Buffer, ...]
    ) -> None:
        self._later(client, self._register_in_thread(client, request, payload))

    async def _register_in_thread(
        self, client: Client, request: requests.Register, payload: tuple[Buffer, ...]
    ) -> None:
        self._check_device(request.model.device)
        spec = await asyncio.to_thread(complete, request, payload, self._paths)
        self._registry.add(spec, replace=request.replace)
        self._conductor.instances.signatures.pop(spec.name, None)
        self.introduce(spec)
        self.front.reply(client, self._views.model(spec.name, client.request_id))

    def introduce(self, spec: ModelSpec) -> None:
        """Make a registered model known to the brain."""
        self._conductor.results.follow(spec)
        self._conductor.feed(events.ModelAdded(self._as_known(spec)))

    async def _estimate(self, client: Client, request: requests.Estimate) -> None:
        self._check_device(request.model.device)
        # Only headers are read, so that trust is none of its concern.
        asked = msgspec.structs.replace(request.model, trusted=True)
        spec = await asyncio.to_thread(inspect, asked)
        self._conductor.sample()
        model = self._as_known(spec)
        self.front.reply(client, self._views.estimate(spec, model, client.request_id))

    def _as_known(self, spec: ModelSpec) -> Model:
        """A model as the brain knows it, with what was learned of its needs."""
        kinds = {device.hardware.kind for device in self._inventory.devices}
        measured = {kind: self._footprints.get(spec, kind) for kind in kinds}
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

    def _check_device(self, name: str) -> None:
        names = [device.name for device in self._inventory.devices]
        if name not in {"auto", *names}:
            raise DeviceNotFound(
                f"There is no device {name!r}.",
                hint=f"There are: {', '.join(names)}. See: sire devices",
                device=name,
            )

    def _remove(self, client: Client, request: requests.Remove, _: tuple[Buffer, ...]) -> None:
        self._registry.remove(request.name)
        self._jobs.model_removed(request.name)
        self._conductor.instances.signatures.pop(request.name, None)
        self._conductor.results.drop(request.name)
        if request.name in self._conductor.brain.models:
            self._conductor.feed(events.ModelRemoved(request.name))
        self.front.reply(client, Done(id=client.request_id))

    # Instances

    def _load(self, client: Client, request: requests.Load, _: tuple[Buffer, ...]) -> None:
        self._refuse_when_draining()
        self._registry.get(request.name)
        self._check_device(request.device or "auto")
        self._start_loading(client, request.name, request.device, request.timeout)

    def _start_loading(
        self, client: Client, name: str, device: str | None, timeout: float | None
    ) -> None:
        allowed = self._load_timeout(timeout)
        self._conductor.load(
            client,
            name,
            device,
            allowed,
            lambda do: self._loaded(client, do),
            patient=timeout is None,
        )

    def _load_timeout(self, given: float | None) -> float:
        return self.settings.settings.daemon.load_timeout if given is None else given

    def _loaded(self, client: Client, do: Fulfil) -> None:
        instance = self._conductor.brain.fleet.instances.get(do.instance or 0)
        if instance is None:
            self.front.fail(client, Cancelled("It was loaded, and unloaded at once."))
        else:
            self.front.reply(client, self._views.instance(instance, client.request_id))

    def _move(self, client: Client, request: requests.Move, payload: tuple[Buffer, ...]) -> None:
        if request.to == "disk":
            self._unload(client, request, payload)
            return
        self._refuse_when_draining()
        self._registry.get(request.name)
        if request.to != "dram":
            self._check_device(request.to)
            self._start_loading(client, request.name, request.to, request.timeout)
            return
        allowed = self._load_timeout(request.timeout)
        self._conductor.sleep(client, request.name, allowed, lambda do: self._loaded(client, do))

    def _unload(
        self, client: Client, request: requests.Unload | requests.Move, _: tuple[Buffer, ...]
    ) -> None:
        self._registry.get(request.name)

        def done(do: Fulfil) -> None:
            self.front.reply(client, Unloaded(id=client.request_id, instances=do.ended))

        self._conductor.unload(client, request.name, done)

    def _reload(self, client: Client, request: requests.Reload, _: tuple[Buffer, ...]) -> None:
        self._refuse_when_draining()
        self._conductor.results.follow(self._registry.get(request.name))

        def unloaded(_: Fulfil) -> None:
            self._start_loading(client, request.name, None, request.timeout)

        self._conductor.unload(client, request.name, unloaded)

    # The daemon itself

    def _health(self, client: Client) -> HealthReport:
        status = "draining" if self.draining else "ok" if self.warm else "starting"
        problems = [f"{name}: {why}" for name, why in self._registry.damaged.items()]
        return self._views.health(
            client.request_id,
            status=status,
            problems=(
                *self._inventory.problems,
                *problems,
                *self._jobs.problems,
                *self._warm_start.problems,
            ),
        )

    def _config(self, client: Client, _: requests.ShowConfig, __: tuple[Buffer, ...]) -> None:
        report = ConfigReport(
            id=client.request_id,
            path=str(self._paths.config_file),
            settings=tuple(Setting(*source) for source in self.settings.sources),
        )
        self.front.reply(client, report)

    def _cancel(self, client: Client, request: requests.Cancel, _: tuple[Buffer, ...]) -> None:
        withdrawn = Client(client.connection, request.request)
        self._conductor.cancel(withdrawn)
        self._pools.withdraw(withdrawn)
        self.front.reply(client, Done(id=client.request_id))

    def _why_ended(self, client: Client, request: requests.WhyEnded, _: tuple[Buffer, ...]) -> None:
        if error := self._conductor.direct.why_ended(request.connection):
            raise error
        self.front.reply(client, Done(id=client.request_id))

    def direct_terms(self) -> tuple[float, int]:
        """What holds for direct connections: the timeout, and the most bytes of a request."""
        settings = self.settings.settings
        return settings.defaults.timeout, settings.daemon.max_message_bytes

    def lead(self, model: str, connection: socket.socket) -> int | None:
        """Lead a client to a worker of a model; the number of the connection, or None."""
        if self.draining:
            return None
        largest = self.settings.settings.daemon.max_message_bytes
        return self._conductor.usher.lead(model, connection, largest)

    def _shutdown(self, client: Client, _: requests.Shutdown, __: tuple[Buffer, ...]) -> None:
        self.front.reply(client, Done(id=client.request_id))
        self._shut_down()

    def _by_task(self, answer: Answer) -> Callable[[Client, Any, tuple[Buffer, ...]], None]:
        return lambda client, request, payload: self._later(
            client, answer(client, request, payload)
        )

    def _later(self, client: Client, answer: Coroutine[Any, Any, None]) -> None:
        """Answer from a task, with the same care for errors as an immediate answer gets."""

        async def answer_or_fail() -> None:
            try:
                await answer
            except SireError as error:
                self.front.fail(client, error)
            except Exception as problem:
                log.exception("a request failed unexpectedly")
                kind = type(problem).__name__
                self.front.fail(client, SireError(f"Unexpected {kind}: {problem}"))

        task = asyncio.get_running_loop().create_task(answer_or_fail())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
