"""All settings as lists to read: the defaults, and the values that are in force.

Tested by tests/backend/settings/test_environment.py and tests/backend/command/test_settings.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backend.settings.environment import (
    FILE_SUFFIX,
    Declaration,
    Settings,
    declarations,
    is_secret,
    process_environment,
)


@dataclass(frozen=True)
class SettingInForce:
    """One setting as this process has it; a secret's value is not shown.

    Attributes:
        variable: the environment variable.
        value: the value in force, as text.
        origin: where the value comes from: "environment", "file" or "default".
        unit: the unit of the value.
        reason: why the default is as it is.
    """

    variable: str
    value: str
    origin: str
    unit: str
    reason: str


def settings_in_force(environment: Mapping[str, str] | None = None) -> list[SettingInForce]:
    """Return every setting with its value in force, and where the value comes from.

    Args:
        environment: the environment variables; None means those of this process.

    Raises:
        SettingsError: for the reasons that `Settings.from_environment` names.
    """
    given = process_environment() if environment is None else environment
    settings = Settings.from_environment(given)
    owners = {type(owner): owner for owner in (settings, *vars(settings).values())}
    return [
        SettingInForce(
            declared.variable,
            _shown(value) if not is_secret(declared) or not value else "(set, not shown)",
            _origin(declared, given),
            declared.field.metadata["unit"],
            declared.field.metadata["reason"],
        )
        for declared in declarations()
        for value in [getattr(owners[declared.owner], declared.field.name)]
    ]


def _origin(declared: Declaration, given: Mapping[str, str]) -> str:
    if is_secret(declared) and given.get(declared.variable + FILE_SUFFIX, "").strip():
        return "file"
    return "environment" if declared.variable in given else "default"


def settings_table() -> str:
    """Return all settings as a Markdown table: variable, default, unit, reason."""
    lines = ["| variable | default | unit | why |", "|---|---|---|---|"]
    for declared in declarations():
        unit, reason = declared.field.metadata["unit"], declared.field.metadata["reason"]
        lines.append(f"| `{declared.variable}` | `{_shown(declared.field.default)}` | {unit} | {reason} |")
    return "\n".join(lines)


def _shown(default: object) -> str:
    """Return a value as a person writes it into the environment."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return ", ".join(default) if isinstance(default, tuple) else str(default)
