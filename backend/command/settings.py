"""`ovdiff settings`: every setting with the value in force, and where the value comes from."""

from __future__ import annotations

import json
from dataclasses import asdict

from backend.command.console import say
from backend.command.table import table
from backend.settings import settings_in_force


def show_settings(*, as_json: bool) -> None:
    """Print all settings: a line for each with its value, the origin of the value, its unit and its reason; or as JSON.

    Raises:
        SettingsError: a variable of the environment is no setting, or its value is impossible.
    """
    shown = settings_in_force()
    if as_json:
        say(json.dumps([asdict(item) for item in shown], indent=2))
        return
    rows = [(item.variable, item.value, item.origin, item.unit, item.reason) for item in shown]
    say(table([("setting", "value", "from", "unit", "why the default is as it is"), *rows]))
