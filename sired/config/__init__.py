"""Settings: the file, over it the environment (``SIRE_…``), over that the flags."""

from sired.config.loading import LoadedSettings, SettingSource, kind_of, load_settings
from sired.config.settings import DeviceSettings, GroupSettings, Settings, TierSettings
from sired.config.timing import HOLD_FROM_START, waiting_for_start

__all__ = [
    "HOLD_FROM_START",
    "DeviceSettings",
    "GroupSettings",
    "LoadedSettings",
    "SettingSource",
    "Settings",
    "TierSettings",
    "kind_of",
    "load_settings",
    "waiting_for_start",
]
