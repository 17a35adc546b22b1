"""`ovdiff settings`: every setting with the value in force, and where the value comes from."""

from __future__ import annotations

from backend.command.console import say
from backend.command.table import table
from backend.settings import settings_in_force
from converters.console import answer


def show_settings() -> None:
    """Print all settings: a line for each with its value, the origin of the value, its unit and its reason; or as JSON.

    Raises:
        SettingsError: a variable of the environment is no setting, or its value is impossible.
    """
    shown = settings_in_force()
    answer(shown)
    rows = [(item.variable, item.value, item.origin, item.unit, item.reason) for item in shown]
    say(table([("setting", "value", "from", "unit", "why the default is as it is"), *rows]))
