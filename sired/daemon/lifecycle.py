"""The daemon's life cycle: lock, start, reload, drain, stop."""

import asyncio
import contextlib
import gc
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from sire.errors import DaemonUnavailable, InvalidConfiguration, SireError
from sire.paths import Paths, find_paths, private_directory, remove_stale_socket
from sired.config import LoadedSettings, load_settings, waiting_for_start
from sired.daemon.assembly import assemble, policies_from, rules_from
from sired.daemon.handlers import RequestHandlers
from sired.daemon.host.event_loop import attentive_loop
from sired.daemon.host.fd_limits import allow_many, few_left
from sired.daemon.host.lock import hold_lock, holds
from sired.daemon.host.log_setup import ERROR_PRIORITY, prioritised, read_by_journal, start_logging
from sired.daemon.host.sd_notify import Notifier
from sired.daemon.host.socket_activation import check_nobody_listens, passed_socket
from sired.daemon.models.scheduler_entry import add_to_scheduler
from sired.daemon.plugins import find_router, find_strategy
from sired.daemon.supervisor.supervisor import OUTSIDE_GRACE_SECONDS
from sired.devices.nvml import make_unified_memory
from sired.store import atomic, model_cache
from sired.workers.descendants import adopt_orphans
from sired.workers.environment import keep_allowed

log = logging.getLogger(__name__)

SAMPLE_SECONDS = 1.0
# Seconds workers may take to be gone after the grace period; most are killed.
END_SECONDS = 2.0 + OUTSIDE_GRACE_SECONDS


def run(
    flags: Mapping[str, str], *, config: Path | None = None, die_with_parent: bool = False
) -> int:
    """Run the daemon until it is told to stop.

    Args:
        flags: settings given on the command line, text by dotted key.
        config: the settings file; None for the user's.
        die_with_parent: stop when the process that started this one is gone.

    Returns:
        The exit code: 0 after a requested stop, 1 if the daemon could not start.
    """
    paths = find_paths()
    os.umask(0o077)  # other users must not read what we and our workers create
    allow_many()
    journal, manager = read_by_journal(os.environ), Notifier(os.environ)
    try:
        listening = passed_socket(paths.socket, os.environ)
        settings = load_settings(config or paths.config_file, os.environ, flags)
        # The fork server inherits our environment: a variable removed here never reaches a worker.
        keep_allowed(os.environ, settings.settings.workers.environment)
        for directory in (paths.runtime, paths.data, paths.models, paths.state, paths.logs):
            private_directory(directory)
        private_directory(paths.model_log("x").parent)
        start_logging(paths, settings.settings.daemon.log_level, journal=journal)
        paths.checked_socket()
        lock = hold_lock(paths.lock)
        if listening is None:
            check_nobody_listens(paths.socket)
    except SireError as error:
        return _give_up(error, journal=journal)
    adopt_orphans()
    try:
        remove_stale_socket(paths.direct_socket)
        if listening is None:
            remove_stale_socket(paths.socket)
        for directory in (paths.models, paths.classes, paths.state):
            atomic.sweep(directory)
        with asyncio.Runner(loop_factory=attentive_loop) as runner:
            runner.run(
                _live(
                    paths,
                    settings,
                    flags,
                    lock,
                    listening,
                    manager,
                    die_with_parent=die_with_parent,
                )
            )
    except SireError as error:
        return _give_up(error, journal=journal)
    except OSError as problem:
        return _give_up(DaemonUnavailable(str(problem)), journal=journal)
    finally:
        os.close(lock)
    return 0


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


async def _live(
    paths: Paths,
    settings: LoadedSettings,
    flags: Mapping[str, str],
    lock: int,
    listening: int | None,
    manager: Notifier,
    *,
    die_with_parent: bool,
) -> None:
    daemon = Daemon(paths, settings, flags, asyncio.get_running_loop(), lock, listening, manager)
    daemon.open(parent=os.getppid() if die_with_parent else None)
    await daemon.finished()
    await daemon.close()


class Daemon:
    """The parts of the daemon, put together."""

    def __init__(
        self,
        paths: Paths,
        settings: LoadedSettings,
        flags: Mapping[str, str],
        loop: asyncio.AbstractEventLoop,
        lock: int,
        listening: int | None,
        manager: Notifier,
    ) -> None:
        self._lock = lock
        self._paths = paths
        self._flags = flags
        self._loop = loop
        self._stop = asyncio.Event()
        self._crowded = False
        self._manager = manager
        parts = assemble(paths, settings, loop, listening)
        self._services = parts.services
        self._prometheus_server = parts.prometheus_server
        self._direct_listener = parts.direct_listener

    def open(self, *, parent: int | None) -> None:
        """Add the models to the brain and open the sockets; the fork server warms up meanwhile.

        Args:
            parent: pid of the process whose end stops the daemon within a second; None for none.
        """
        for spec in self._services.registry.models.values():
            add_to_scheduler(self._services, spec)
        damaged = {Path(file).stem for file in self._services.registry.damaged}
        model_cache.sweep(self._paths.caches, {*self._services.registry.models, *damaged})
        for name, why in self._services.registry.damaged.items():
            log.error("the registry file %s is damaged and skipped: %s", name, why)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._services.front.open(self._loop, RequestHandlers(self._services, self._stop.set))
        self._direct_listener.open()
        self._prometheus_server.open()
        self._services.jobs.start()
        self._services.warm_start.start()
        self._services.history_recorder.start()
        self._begin_warm_up()
        self._deadlines(parent)
        # What exists by now stays: the garbage collector need not scan it again.
        gc.collect()
        gc.freeze()
        self._manager.say("READY=1")
        self._manager.keep_alive(self._loop)
        log.info("sired is ready on %s", self._paths.socket)

    def _begin_warm_up(self) -> None:
        # Not a task of the loop: a daemon that is told to stop meanwhile does not wait for it.
        self._services.warm = False
        threading.Thread(target=self._warm_up, name="warm-up", daemon=True).start()

    def _warm_up(self) -> None:
        if any(device.hardware.kind == "cuda" for device in self._services.inventory.devices):
            make_unified_memory()
        try:
            self._services.zygote.warm()
        except OSError as problem:
            log.error("the fork server did not start: %s", problem)  # noqa: TRY400
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._warm)

    def _warm(self) -> None:
        self._services.warm = True
        for do in self._services.when_warm:
            do()

    def _deadlines(self, parent: int | None) -> None:
        """Once a second: sample memory, and check that the daemon is still needed and reachable."""
        # Scheduled first, so that an error below does not end it for good.
        self._loop.call_later(SAMPLE_SECONDS, self._deadlines, parent)
        if parent is not None and os.getppid() != parent:
            self._stop.set()
        if not holds(self._lock, self._paths.lock):
            # The runtime directory is gone, as after the user's last logout: no client can find us.
            log.error("%s was removed; shutting down", self._paths.lock)
            self._stop.set()
        self._check_descriptors()
        self._services.jobs.check_clock()
        if self._services.pending_loads or self._services.inventory.can_lose:
            self._services.conductor.sample()
        if (
            self._services.warm
            and self._services.zygote.ended
            and not self._services.zygote.problem
        ):
            log.error("the fork server has ended; another one is started")
            self._begin_warm_up()
        self._services.warm_start.note()
        self._services.supervisor.trim_logs(self._paths.daemon_output)

    def _check_descriptors(self) -> None:
        """Accept no new clients while descriptors are short."""
        crowded = few_left()
        if crowded != self._crowded:
            state = "are running out: no new client is accepted" if crowded else "suffice again"
            log.warning("descriptors %s", state)
        self._crowded = crowded
        try:
            self._services.front.accept(not crowded)
        except OSError as problem:  # it is tried again in a second
            log.error("the socket cannot be moved: %s", problem)  # noqa: TRY400

    def _reload(self) -> None:
        """Read the settings again, and log those that take effect only after a restart."""
        try:
            settings = load_settings(self._services.loaded.path, os.environ, self._flags)
            strategy = find_strategy(settings.settings.placement.strategy)
            router = find_router(settings.settings.placement.routing)
            rules = rules_from(settings.settings)
        except InvalidConfiguration as error:
            log.error("the settings stay as they were: %s", error)  # noqa: TRY400
            return
        old = self._services.settings
        if waiting := waiting_for_start(old, settings.settings):
            names_changed = ", ".join(waiting)
            log.warning("%s: takes effect after: sire daemon restart", names_changed)
        names = policies_from(settings.settings)
        self._services.conductor.adopt(rules, strategy, router, names)
        self._services.adopt(settings)
        logging.getLogger().setLevel(settings.settings.daemon.log_level.upper())
        log.info("the settings were read again")

    async def finished(self) -> None:
        """Wait until the daemon is told to stop, and then until everything is answered."""
        await self._stop.wait()
        self._manager.say("STOPPING=1")
        self._services.draining = True
        self._services.direct.close_all()
        self._services.jobs.stop()
        self._services.warm_start.stop()
        grace = self._services.settings.daemon.grace_seconds
        log.info("shutting down; %d requests to finish", self._services.engine.unanswered)
        await self._until(lambda: not self._services.engine.unanswered, grace)

    async def close(self) -> None:
        """End the workers, then close the sockets: nothing is left when the process exits."""
        self._services.history_recorder.close()
        self._services.engine.end_workers()
        await self._until(lambda: not self._services.supervisor, END_SECONDS)
        self._services.engine.close()
        self._services.jobs.close()
        self._direct_listener.close()
        self._prometheus_server.close()
        self._services.front.close()

    async def _until(self, done: Callable[[], bool], seconds: float) -> None:
        deadline = self._loop.time() + seconds
        while not done() and self._loop.time() < deadline:  # noqa: ASYNC110 (many things end it)
            await asyncio.sleep(0.01)
