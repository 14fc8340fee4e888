"""Settings: the file, over it the environment (``SIRE_…``), over that the flags."""

from sired.config.loading import Loaded, Source, load_settings
from sired.config.settings import DeviceSettings, Settings, TierSettings

__all__ = ["DeviceSettings", "Loaded", "Settings", "Source", "TierSettings", "load_settings"]
