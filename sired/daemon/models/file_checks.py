"""Compares the files of a model with what was registered, before each load.

Metadata is compared first, which takes microseconds. Only if it differs are the files read: hashes
decide where they were taken, otherwise size and date. Files that changed are inspected like those
of a new model, so that size, fingerprint, footprint and cached answers belong to them. If loading
them runs code, the model is not loaded until they are trusted again.

Nor is a model loaded whose registration names code and was not made on this machine: a registry
file that was copied from elsewhere does not decide what runs.
"""

import asyncio
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from sire.errors import Cancelled, InvalidModel, SireError, UntrustedModel
from sire.protocol.replies import VerifiedFile
from sire.spec import ModelSpec, named_code
from sired.daemon.host.log_setup import of_worker
from sired.daemon.models.estimates import Estimates
from sired.daemon.models.headers import HeaderReaders
from sired.daemon.models.scheduler_entry import add_to_scheduler
from sired.daemon.services import Services
from sired.runtimes.discovery import find_traits
from sired.store.file_states import (
    HASHED_AT_ONCE,
    SETTLED_SECONDS,
    FileState,
    differing,
    states_of,
    wait_until_written,
)
from sired.store.formats import TRANSFORMERS
from sired.store.snapshots import Snapshot, code_digest

log = logging.getLogger(__name__)

_NAMED = 3


class FileChecks:
    """Checks the files of models, and registers those that changed anew."""

    def __init__(self, services: Services, estimates: Estimates) -> None:
        self._services = services
        self._estimates = estimates
        self._headers = services.headers
        self._loop = asyncio.get_running_loop()

    def before_load(self, spec: ModelSpec) -> tuple[FileState, ...]:
        """The states of a model's files, which are those that it was registered with.

        Blocks: called in a thread.

        Raises:
            Cancelled: files had changed, and what waits for the model has it loaded anew.
            UntrustedModel: files had changed, and loading them would run code; or the registration
                names code, and was not made on this machine.
            InvalidModel: files are missing, damaged, or being written.
        """
        known = self._registered_here(spec)
        if known is not None and known.code is None:
            filled = msgspec.structs.replace(known, code=code_digest(spec))
            self._services.snapshots.renew(spec.name, known, filled)
            known = filled
        files = files_of_model(spec, self._headers)
        if not files:
            return ()
        now = states_of(files)
        if known is not None and _same_metadata(known.files, now):
            return now
        wait_until_written(files, settled=SETTLED_SECONDS)
        changed, snapshot = compare(spec, known, self._headers)
        if not changed:
            self._services.snapshots.renew(spec.name, known, snapshot)
            return snapshot.files
        if runs_code(spec):
            raise untrusted(spec, changed)
        found = self._estimates.blocking(self._headers.inspect(spec))
        self._services.snapshots.renew(spec.name, known, snapshot)
        self._loop.call_soon_threadsafe(self._adopt, spec, found, changed)
        raise Cancelled(f"{named(changed)} changed, so {spec.name} is loaded anew.")

    def since_registered(self, spec: ModelSpec) -> tuple[tuple[str, ...], float | None]:
        """The files that differ from what was registered, by size and date; blocks.

        Returns:
            Their paths, and when files that had changed were last registered anew, or None.
        """
        known = self._services.snapshots.get(spec.name)
        if known is None or not known.files:
            return (), None
        anew_at = known.changed_at or None
        try:
            now = states_of(files_of_model(spec, self._headers))
        except InvalidModel:
            return tuple(
                state.path for state in known.files if not Path(state.path).exists()
            ), anew_at
        return differing(known.files, now), anew_at

    def verify(self, spec: ModelSpec) -> tuple[VerifiedFile, ...]:
        """Hash all files and compare them with what was registered; blocks.

        Hashes that were not known are recorded.

        Raises:
            InvalidModel: a file is missing, cannot be read, or is being written.
        """
        found = self._services.snapshots.get(spec.name)
        known = found or Snapshot(code="")
        old = {state.path: state for state in known.files}
        there = [Path(path) for path in old if Path(path).exists()]
        files = list(dict.fromkeys((*there, *files_of_model(spec, self._headers))))
        now = states_of(files, hash_up_to=sys.maxsize)
        reports = [_verified(old.get(state.path), state) for state in now]
        gone = [state for state in known.files if state.path not in {one.path for one in now}]
        reports += [VerifiedFile(state.path, "missing", state.size, "") for state in gone]
        recorded = tuple(
            state if report.state in {"unchanged", "recorded"} else old.get(state.path)
            for state, report in zip(now, reports, strict=False)
        )
        files_known = (*filter(None, recorded), *gone)
        verified = msgspec.structs.replace(known, files=files_known)
        self._services.snapshots.renew(spec.name, found, verified)
        return tuple(reports)

    async def trust(self, spec: ModelSpec) -> None:
        """Trust a model as it is now: its registration if that was not made here, else its files.

        Raises:
            InvalidModel: a file is missing, damaged or being written.
            SireError: the registry cannot be written.
        """
        services = self._services
        here = approved(spec, await asyncio.to_thread(services.snapshots.get, spec.name))
        trusted = msgspec.structs.replace(spec, trusted=True) if here else spec

        def read() -> tuple[ModelSpec, Snapshot]:
            _, snapshot = compare(trusted, services.snapshots.get(spec.name), self._headers)
            return self._estimates.blocking(self._headers.inspect(trusted)), snapshot

        found, snapshot = await asyncio.to_thread(read)
        services.registry.update(spec.name, trusted=trusted.trusted)
        await asyncio.to_thread(services.snapshots.put, spec.name, snapshot)
        self._adopt(spec, found, snapshot.changed)

    def _registered_here(self, spec: ModelSpec) -> Snapshot | None:
        """The snapshot of a model whose registration names no code, or was made here.

        Raises:
            UntrustedModel: the registration is from elsewhere.
            SireError: what was registered here cannot be read.
        """
        try:
            known = self._services.snapshots.read(spec.name)
        except OSError as problem:
            if names_code(spec):
                raise SireError(
                    f"What was registered of {spec.name} on this machine cannot be read: "
                    f"{problem.strerror}.",
                    hint=f"See the permissions of {self._services.paths.snapshots}, or try again.",
                ) from None
            return None
        if not approved(spec, known):
            raise self._not_approved(spec)
        return known

    def _not_approved(self, spec: ModelSpec) -> UntrustedModel:
        code = [*named_code(spec), *(["trusted = true"] if spec.trusted else [])]
        return UntrustedModel(
            f"{spec.name} was not registered on this machine, and its registration names code that "
            f"would run: {' and '.join(code)}. None of it has run.",
            hint=f"Read {self._services.registry.file(spec.name)} and the code. If you trust both: "
            f"sire verify {spec.name} --trust",
            model=spec.name,
        )

    def _adopt(self, spec: ModelSpec, found: ModelSpec, changed: Sequence[str]) -> None:
        """Replace a model's entry by what its files state now; what waits for it keeps waiting."""
        services = self._services
        current = services.registry.models.get(spec.name)
        if current is None or current.registered_at != spec.registered_at:
            return  # removed, or registered again, meanwhile
        if changed:
            log.warning(
                "%s changed since the model was registered: its size, fingerprint and footprint "
                "are taken anew",
                named(changed),
                extra=of_worker(spec.name),
            )
            services.event_log.add("changed", spec.name, words=named(changed))
        try:
            adopted = services.registry.update(
                spec.name,
                format=found.format,
                weight_bytes=found.weight_bytes,
                weights_reported=found.weights_reported,
                stated=found.stated,
                fingerprint=found.fingerprint,
                notes=found.notes,
                alone="" if changed else current.alone,
            )
        except SireError as error:
            log.warning("the change is not stored: %s", error, extra=of_worker(spec.name))
            return
        services.instances.forget_signature(spec.name)
        services.instances.files_changed(spec.name, tuple(changed))
        add_to_scheduler(services, adopted)


def files_of_model(spec: ModelSpec, headers: HeaderReaders) -> list[Path]:
    """The files that determine what a model computes; none if it has no file of its own.

    Raises:
        InvalidModel: one is missing or cannot be read.
    """
    if not spec.path:
        return []
    path = Path(spec.path)
    try:
        if not path.exists():
            raise InvalidModel(
                f"{spec.path} does not exist any more.",
                hint=f"Restore it, or register the model again: sire register --replace {spec.name}"
                " PATH",
                path=spec.path,
            )
        return headers.files(spec)
    except OSError as problem:
        raise InvalidModel(f"{spec.path} cannot be read: {problem.strerror}.") from None


def take_snapshot(spec: ModelSpec, headers: HeaderReaders) -> Snapshot:
    """The present states of a model's files, as those that it is registered with.

    Raises:
        InvalidModel: one is missing, cannot be read, or is being written.
    """
    states = states_of(files_of_model(spec, headers), hash_up_to=HASHED_AT_ONCE)
    return Snapshot(states, code=code_digest(spec))


def approved(spec: ModelSpec, known: Snapshot | None) -> bool:
    """Whether a registration names no code, or was made or trusted on this machine."""
    return not names_code(spec) or (known is not None and known.code in {None, code_digest(spec)})


def names_code(spec: ModelSpec) -> bool:
    """Whether a registration decides that code runs."""
    return bool(named_code(spec)) or spec.trusted


def compare(
    spec: ModelSpec, known: Snapshot | None, headers: HeaderReaders
) -> tuple[tuple[str, ...], Snapshot]:
    """The files whose content changed, and the snapshot that replaces the known one.

    Args:
        spec: the model, whose registration is known to be approved.
        known: its snapshot, if there is one.
        headers: tells which files are its own.

    Raises:
        InvalidModel: one is missing, cannot be read, or is being written.
    """
    files = files_of_model(spec, headers)
    if not files:
        return (), msgspec.structs.replace(known or Snapshot(), code=code_digest(spec))
    if known is None or not known.files:  # registered by an earlier version, or elsewhere
        states = states_of(files, hash_up_to=HASHED_AT_ONCE)
        same = headers.inspect(spec).fingerprint == spec.fingerprint
        changed: tuple[str, ...] = () if same else (spec.path,)
    else:
        were_hashed = any(state.sha256 for state in known.files)
        size = sum(state.size for state in states_of(files)) if were_hashed else 0
        states = states_of(files, hash_up_to=max(HASHED_AT_ONCE, size))
        changed = differing(known.files, states, exactly=runs_code(spec))
    if changed:
        return changed, Snapshot(states, changed, time.time(), code_digest(spec))
    old = known or Snapshot()
    return (), msgspec.structs.replace(old, files=states, code=code_digest(spec))


def runs_code(spec: ModelSpec) -> bool:
    """Whether loading a model may run code from its files, which the user has trusted."""
    known = find_traits(spec.runtime).format(spec.format)
    harmless = known is not None and known.needs_trust == "never" and known.name != TRANSFORMERS
    return spec.trusted and not harmless


def untrusted(spec: ModelSpec, changed: Sequence[str]) -> UntrustedModel:
    """The error that reports files that changed since they were trusted."""
    return UntrustedModel(
        f"{named(changed)} changed since {spec.name} was trusted; none of its code has run.",
        hint=f"If you trust it as it is now: sire verify {spec.name} --trust",
        model=spec.name,
        files=list(changed),
    )


def named(files: Sequence[str]) -> str:
    """The first few of some files, as text."""
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    return f"{', '.join(files[:_NAMED])}{more}"


def _verified(old: FileState | None, now: FileState) -> VerifiedFile:
    state = "new"
    if old is not None and old.sha256:
        state = "unchanged" if old.sha256 == now.sha256 else "changed"
    elif old is not None:
        state = "recorded" if old.same_content(now) else "changed"
    return VerifiedFile(now.path, state, now.size, now.sha256)


def _same_metadata(before: Sequence[FileState], now: Sequence[FileState]) -> bool:
    return len(before) == len(now) and all(map(FileState.same_metadata, before, now))
