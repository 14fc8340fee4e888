"""The daemon's life cycle: lock, start, reload, drain, stop."""

import asyncio
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sire import atomic
from sire.errors import DaemonUnavailable, InvalidConfiguration, SireError
from sire.paths import (
    Paths,
    find_paths,
    model_of_stem,
    private_directory,
    remove_stale_socket,
)
from sired.config import LoadedSettings, load_settings, waiting_for_start
from sired.daemon.assembly import assemble, policies_from, rules_from
from sired.daemon.device_watch import DeviceWatch
from sired.daemon.handlers import RequestHandlers
from sired.daemon.host.event_loop import busy_polling_loop
from sired.daemon.host.fd_limits import nearly_exhausted, raise_limit
from sired.daemon.host.lock import hold_lock, holds
from sired.daemon.host.log_setup import ERROR_PRIORITY, prioritised, read_by_journal, start_logging
from sired.daemon.host.sd_notify import Notifier
from sired.daemon.host.socket_activation import check_not_in_use, passed_socket
from sired.daemon.models.scheduler_entry import add_to_scheduler
from sired.daemon.plugins import find_router, find_strategy
from sired.daemon.supervisor.worker import SLOW_EXIT_GRACE_SECONDS
from sired.store import model_cache
from sired.workers.descendants import adopt_orphans
from sired.workers.environment import filter_environment

log = logging.getLogger(__name__)

SAMPLE_SECONDS = 1.0
# Seconds workers may take to be gone after the grace period; most are killed.
END_SECONDS = 2.0 + SLOW_EXIT_GRACE_SECONDS
# Seconds gateways may take after that to pass on the last answers, before they are killed.
GATEWAY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Startup:
    """What a daemon has before its event loop runs.

    Attributes:
        flags: settings given on the command line, text by dotted key.
        lock: descriptor of the lock file, which this process holds locked.
        listening: descriptor of the front socket if systemd passed it; None to open one.
        manager: notifies the service manager.
    """

    paths: Paths
    settings: LoadedSettings
    flags: Mapping[str, str]
    lock: int
    listening: int | None
    manager: Notifier


def run(
    flags: Mapping[str, str], *, config: Path | None = None, die_with_parent: bool = False
) -> int:
    """Run the daemon until a stop is requested.

    Args:
        flags: settings given on the command line, text by dotted key.
        config: the settings file; None for the user's.
        die_with_parent: stop when the process that started this one is gone.

    Returns:
        The exit code: 0 after a requested stop, 1 if the daemon could not start.
    """
    paths = find_paths()
    os.umask(0o077)  # other users must not read what we and our workers create
    raise_limit()
    journal, manager = read_by_journal(os.environ), Notifier(os.environ)
    try:
        startup = _prepare(paths, flags, config, manager, journal=journal)
    except SireError as error:
        return _give_up(error, journal=journal)
    adopt_orphans()
    try:
        _remove_leftovers(startup)
        with asyncio.Runner(loop_factory=busy_polling_loop) as runner:
            runner.run(_live(startup, die_with_parent=die_with_parent))
    except SireError as error:
        return _give_up(error, journal=journal)
    except OSError as problem:
        return _give_up(DaemonUnavailable(str(problem)), journal=journal)
    finally:
        os.close(startup.lock)
    return 0


def _prepare(
    paths: Paths,
    flags: Mapping[str, str],
    config: Path | None,
    manager: Notifier,
    *,
    journal: bool,
) -> Startup:
    """Read the settings, make the directories, start the log and take the lock.

    Raises:
        SireError: the daemon cannot start.
    """
    listening = passed_socket(paths.socket, os.environ)
    settings = load_settings(config or paths.config_file, os.environ, flags)
    # The fork server inherits our environment: a variable removed here never reaches a worker.
    filter_environment(os.environ, settings.settings.workers.environment)
    for directory in (paths.runtime, paths.data, paths.models, paths.state, paths.logs):
        private_directory(directory)
    private_directory(paths.model_log("x").parent)
    start_logging(paths, settings.settings.daemon.log_level, journal=journal)
    paths.checked_socket()
    lock = hold_lock(paths.lock)
    if listening is None:
        check_not_in_use(paths.socket)
    return Startup(paths, settings, flags, lock, listening, manager)


def _remove_leftovers(startup: Startup) -> None:
    """Remove what a daemon that was killed left behind."""
    paths = startup.paths
    remove_stale_socket(paths.direct_socket)
    if startup.listening is None:
        remove_stale_socket(paths.socket)
    for directory in (paths.data, paths.models, paths.classes, paths.state):
        atomic.sweep(directory)


def check(flags: Mapping[str, str], config: Path | None = None) -> int:
    """Read the settings as a daemon would and report what is wrong; returns the exit code."""
    try:
        settings = load_settings(config or find_paths().config_file, os.environ, flags)
        find_strategy(settings.settings.placement.strategy)
        find_router(settings.settings.placement.routing)
        rules_from(settings.settings)
    except SireError as error:
        sys.stderr.write("\n".join(filter(None, (error.message, error.hint))) + "\n")
        return 1
    return 0


def _give_up(error: SireError, *, journal: bool) -> int:
    """Report why the daemon does not start; returns the exit code."""
    report = f"sired: error: {error.message}\n{error.hint}"
    sys.stderr.write((prioritised(report, ERROR_PRIORITY) if journal else report) + "\n")
    return 1


async def _live(startup: Startup, *, die_with_parent: bool) -> None:
    daemon = Daemon(startup, asyncio.get_running_loop())
    daemon.open(parent=os.getppid() if die_with_parent else None)
    await daemon.finished()
    await daemon.close()


class Daemon:
    """The parts of the daemon, put together."""

    def __init__(self, startup: Startup, loop: asyncio.AbstractEventLoop) -> None:
        self._startup = startup
        self._paths = startup.paths
        self._manager = startup.manager
        self._loop = loop
        self._stop = asyncio.Event()
        self._descriptors_short = False
        self._next_check: asyncio.TimerHandle | None = None
        parts = assemble(startup.paths, startup.settings, loop, startup.listening)
        self._services = parts.services
        self._prometheus_server = parts.prometheus_server
        self._direct_listener = parts.direct_listener
        self._device_watch = DeviceWatch(
            loop,
            self._services.inventory,
            self._services.conductor,
            self._services.supervisor.standby,
            startup.paths,
            self._services.reported_problems,
        )

    def open(self, *, parent: int | None) -> None:
        """Add the models to the brain and open the sockets; the fork server warms up meanwhile.

        Args:
            parent: pid of the process whose end stops the daemon within a second; None for none.
        """
        for spec in self._services.registry.models.values():
            add_to_scheduler(self._services, spec)
        damaged = {model_of_stem(Path(file).stem) for file in self._services.registry.damaged}
        known = {*self._services.registry.models, *damaged}
        model_cache.sweep(self._paths.caches, known)
        self._services.snapshots.sweep(known)
        for name, why in self._services.registry.damaged.items():
            log.error("the registry file %s is damaged and skipped: %s", name, why)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._services.front.crowded = self._check_descriptors
        self._direct_listener.crowded = self._check_descriptors
        self._services.front.open(self._loop, RequestHandlers(self._services, self._stop.set))
        self._direct_listener.open()
        self._prometheus_server.open()
        self._services.jobs.start()
        self._services.gateways.start()
        self._services.warm_start.start()
        self._services.history_recorder.start()
        threading.Thread(target=self._services.headers.start, name="headers", daemon=True).start()
        models = tuple(self._services.registry.models.values())
        self._services.warm_up.start(models, before=self._device_watch.check_unified_memory)
        self._check_every_second(parent)
        # What exists by now stays: the garbage collector need not scan it again.
        gc.collect()
        gc.freeze()
        self._manager.notify("READY=1")
        self._manager.keep_alive(self._loop)
        log.info("sired is ready on %s", self._paths.socket)

    def _check_every_second(self, parent: int | None) -> None:
        """Sample memory, and check that the daemon is still needed and reachable."""
        # Scheduled first, so that an error below does not end it for good.
        again = partial(self._check_every_second, parent)
        self._next_check = self._loop.call_later(SAMPLE_SECONDS, again)
        if parent is not None and os.getppid() != parent:
            self._stop.set()
        if not holds(self._startup.lock, self._paths.lock):
            # The runtime directory is gone, as after the user's last logout: no client can connect.
            log.error("%s was removed; shutting down", self._paths.lock)
            self._stop.set()
        self._check_descriptors()
        self._services.jobs.check_clock()
        self._device_watch.look()
        if self._services.pending_loads or self._services.inventory.can_lose:
            self._services.conductor.sample()
        self._services.warm_up.check()
        self._services.warm_start.save()
        self._services.supervisor.trim_logs(
            self._paths.daemon_output, *self._services.gateways.logs
        )

    def _check_descriptors(self) -> None:
        """Accept no new clients while descriptors are short."""
        short = nearly_exhausted()
        if short != self._descriptors_short:
            state = "nearly exhausted: no new client is accepted" if short else "available again"
            log.warning("file descriptors are %s", state)
        self._descriptors_short = short
        self._direct_listener.keep_descriptors(short=short)
        try:
            self._services.front.accept(not short)
        except OSError as problem:  # retried in a second
            log.error("the front socket cannot be moved: %s", problem)  # noqa: TRY400

    def _reload(self) -> None:
        """Read the settings again, and log those that take effect only after a restart."""
        try:
            settings = load_settings(self._services.loaded.path, os.environ, self._startup.flags)
            strategy = find_strategy(settings.settings.placement.strategy)
            router = find_router(settings.settings.placement.routing)
            rules = rules_from(settings.settings)
        except InvalidConfiguration as error:
            log.error("the settings are unchanged: %s", error)  # noqa: TRY400
            return
        old = self._services.settings
        if waiting := waiting_for_start(old, settings.settings):
            names_changed = ", ".join(waiting)
            log.warning("%s: takes effect after: sire daemon restart", names_changed)
        names = policies_from(settings.settings)
        self._services.conductor.adopt(rules, strategy, router, names)
        self._services.adopt(settings)
        logging.getLogger().setLevel(settings.settings.daemon.log_level.upper())
        log.info("the settings have been reloaded")

    async def finished(self) -> None:
        """Wait until a stop is requested, then until every request is answered."""
        await self._stop.wait()
        self._manager.notify("STOPPING=1")
        self._services.draining = True
        self._services.direct.close_all()
        self._services.jobs.stop()
        self._services.gateways.stop_all()
        self._services.warm_start.stop()
        grace = self._services.settings.daemon.grace_seconds
        log.info("shutting down; %d requests to finish", self._services.engine.unanswered)
        await self._until(lambda: not self._services.engine.unanswered, grace)

    async def close(self) -> None:
        """End the workers, then close the sockets: nothing is left when the process exits."""
        self._services.history_recorder.close()
        self._services.engine.end_workers()
        await self._until(lambda: not self._services.supervisor, END_SECONDS)
        # They have the answers to what they asked, or the errors.
        await self._until(lambda: not self._services.gateways.run, GATEWAY_SECONDS)
        self._services.gateways.kill_all()
        if self._next_check is not None:  # what it checks is closed from here on
            self._next_check.cancel()
        self._services.engine.close()
        self._services.zygote.close()
        self._services.jobs.close()
        self._services.headers.close()
        self._direct_listener.close()
        self._prometheus_server.close()
        self._services.front.close()

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        deadline = self._loop.time() + seconds
        while not done() and self._loop.time() < deadline:  # noqa: ASYNC110 (many things end it)
            await asyncio.sleep(0.01)
