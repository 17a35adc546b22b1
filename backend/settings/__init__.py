"""Every setting of the service: one frozen object, built once from the environment and passed down.

This is the only room of the project that reads the environment. The variable of a setting `x` is `OVDIFF_X`. The two
settings that describe Label Studio are `LABEL_STUDIO_URL` and `LABEL_STUDIO_API_KEY`, as in its own documentation. An
unknown `OVDIFF_` variable is an error, because a misspelled limit must not silently be ignored. `settings_table()`
returns all settings as a table.
"""

from backend.settings.environment import Settings, read_settings
from backend.settings.groups import (
    CLOUDS,
    ImageSettings,
    LabelStudioSettings,
    OutputSettings,
    PredictionSettings,
    RaySettings,
    ServerSettings,
)
from backend.settings.listing import SettingInForce, settings_in_force, settings_table

__all__ = [
    "CLOUDS",
    "ImageSettings",
    "LabelStudioSettings",
    "OutputSettings",
    "PredictionSettings",
    "RaySettings",
    "ServerSettings",
    "SettingInForce",
    "Settings",
    "read_settings",
    "settings_in_force",
    "settings_table",
]
