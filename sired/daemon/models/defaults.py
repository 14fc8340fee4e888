"""Options that a model has from ``[defaults]``, where its registration does not give them."""

from collections.abc import Collection
from typing import Any

import msgspec

from sire.errors import SireError
from sire.options.option import ModelOption
from sire.options.table import WITH_DEFAULTS
from sire.spec import ModelSpec
from sired.config.settings import DefaultSettings
from sired.daemon.models.registration import check_batches

# Options that some runtimes or models reject; a default applies to those that accept it.
_NOT_FOR_ALL = ("batch_size", "concurrency")


class OptionDefaults:
    """The defaults of a daemon's settings, as they were when it started."""

    def __init__(self, settings: DefaultSettings) -> None:
        self._values: list[tuple[ModelOption, Any]] = [
            (option, value)
            for option in WITH_DEFAULTS
            if not _applied_by_scheduler(option)
            and (value := getattr(settings, option.name)) != option.default
        ]

    def fill(self, spec: ModelSpec, explicit: Collection[str]) -> ModelSpec:
        """The model with the defaults for options that it was registered without.

        Args:
            spec: the model as registered.
            explicit: options registered with their built-in default, which stays.
        """
        for option, value in self._values:
            if option.name in explicit or option.value_in(spec) != option.default:
                continue
            filled = msgspec.structs.replace(spec, **{option.field: value})
            if option.name not in _NOT_FOR_ALL or _accepted(filled):
                spec = filled
        return spec


def _applied_by_scheduler(option: ModelOption) -> bool:
    """Whether the scheduler applies the default when it is needed, so that a reload changes it."""
    return option.name == "keep_alive"


def _accepted(spec: ModelSpec) -> bool:
    try:
        check_batches(spec)
    except SireError:  # also of a runtime that is not installed any more
        return False
    return True
