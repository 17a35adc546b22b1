"""All settings as one object, built from the environment of the process."""

from __future__ import annotations

import difflib
import os
import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from backend.errors import SettingsError
from backend.settings.fields import PREFIX, require_between, setting
from backend.settings.groups import (
    ImageSettings,
    LabelStudioSettings,
    OutputSettings,
    PredictionSettings,
    RaySettings,
    ServerSettings,
)
from ovdiff.errors import StorageError
from ovdiff.storage.addresses import path_or_address, place
from ovdiff.storage.patience import PATIENCE_S

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/", re.IGNORECASE)  # a Path has lost the second slash
LABEL_STUDIO_PREFIX = "LABEL_STUDIO_"
FILE_SUFFIX = "_FILE"
"""A secret may be in a file, such as those of Docker's and Kubernetes' secrets; this variable names the file."""
SECRET_BYTES = 64 * 1024
"""More than any password or token is long: a longer file is the wrong one."""


@dataclass(frozen=True)
class Settings:
    """All settings, in groups: each part of the service receives its own group."""

    data_dir: Path = setting(  # noqa: RUF009 — dataclasses.field in disguise, and a Path does not change
        Path("ovdiff-data"),
        "folder",
        "it holds the prototype bank and the state file; it may be copied while the service is stopped",
    )
    bank: str = setting(
        "",
        "folder or address",
        "empty is the folder bank in OVDIFF_DATA_DIR; an address such as s3://bucket/bank is shared by machines",
    )
    storage_patience_s: float = setting(
        PATIENCE_S, "s", "a bank at an address that is away is asked again for so long: a server restarts meanwhile"
    )
    preset: str = setting("tinyworld", "preset name or file", "its embedded models need no download")
    device: str = setting(
        "cpu",
        "torch device, with options such as cuda+compile",
        "cpu works everywhere; choose cuda where there is a GPU",
    )
    server: ServerSettings = field(default_factory=ServerSettings)
    label_studio: LabelStudioSettings = field(default_factory=LabelStudioSettings)
    images: ImageSettings = field(default_factory=ImageSettings)
    prediction: PredictionSettings = field(default_factory=PredictionSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    ray: RaySettings = field(default_factory=RaySettings)

    @property
    def bank_dir(self) -> Path:
        """Folder of the prototype bank, on this machine or in a storage; it is used as a path in either case."""
        return place(self.bank, self.storage_patience_s) if self.bank else self.data_dir / "bank"

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            SettingsError: the data folder is an address, the bank is no place, or the patience is out of range.
        """
        require_between("storage_patience_s", self.storage_patience_s, 0.0, 3600.0)
        if _ADDRESS.match(str(self.data_dir)):
            raise SettingsError(
                f"OVDIFF_DATA_DIR={self.data_dir} is an address, and the state file in it must be on this machine. "
                "Leave it a folder, and set OVDIFF_BANK to the address of the bank."
            )
        try:
            path_or_address(self.bank)
        except StorageError as error:
            raise SettingsError(f"OVDIFF_BANK: {error}") from None

    @property
    def state_file(self) -> Path:
        """SQLite file with projects and events."""
        return self.data_dir / "state.sqlite"

    @property
    def predictions_dir(self) -> Path:
        """Folder of the predictions that were made, which are looked up when a task is asked for again."""
        return self.data_dir / "predictions"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Build the settings from environment variables.

        Raises:
            SettingsError: an OVDIFF_ variable is unknown, a value is malformed or out of range, or the file of a secret
                cannot be read.
        """
        environment = with_secrets(environment)
        known = {declared.variable for declared in declarations()}
        for name in environment:
            if name.startswith(PREFIX) and name not in known:
                raise SettingsError(_unknown_variable(name, known))
        groups = {name: group(**_values(group, environment)) for name, group in _groups().items()}
        return cls(**_values(cls, environment), **groups)


def with_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with each secret that a ``..._FILE`` variable names, in place of that variable.

    Raises:
        SettingsError: a file cannot be read, is empty or far too long, or the secret is given in both ways.
    """
    found = dict(environment)
    for declared in declarations():
        variable = declared.variable + FILE_SUFFIX
        if is_secret(declared) and (path := found.pop(variable, "").strip()):
            if found.get(declared.variable):
                raise SettingsError(f"{declared.variable} and {variable} are both set; set one of them.")
            found[declared.variable] = _secret(variable, Path(path))
    return found


def is_secret(declared: Declaration) -> bool:
    """Say whether a setting is a secret: it is never shown, and may be in a file."""
    return not declared.field.repr


def _secret(variable: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(SECRET_BYTES + 1).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable}={str(path)!r} cannot be read: {error}.") from None
    if not text or len(text.encode()) > SECRET_BYTES:
        wrong = "is empty" if not text else f"is longer than {SECRET_BYTES} bytes"
        raise SettingsError(f"{variable}={str(path)!r} {wrong}; it should hold the secret alone.")
    return text


def read_settings() -> Settings:
    """Build the settings from the environment of this process."""
    return Settings.from_environment(process_environment())


def process_environment() -> Mapping[str, str]:
    """Return the environment variables of this process."""
    return os.environ


class Declaration(typing.NamedTuple):
    """A setting as it is declared: its environment variable, the group (or Settings) it belongs to, and its field."""

    variable: str
    owner: type
    field: Field[Any]


def declarations() -> Iterator[Declaration]:
    """Yield every setting of Settings and of its groups."""
    for owner in (Settings, *_groups().values()):
        for item in fields(owner):
            if item.default is not MISSING:
                yield Declaration(_variable(owner, item.name), owner, item)


def _groups() -> dict[str, Any]:
    """Return the fields of Settings that are groups, name to class."""
    hints = typing.get_type_hints(Settings)
    return {item.name: hints[item.name] for item in fields(Settings) if item.default is MISSING}


def _variable(owner: type, name: str) -> str:
    prefix = LABEL_STUDIO_PREFIX if owner is LabelStudioSettings else PREFIX
    return prefix + name.upper()


def _values(owner: Any, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the values that the environment sets for the fields of one class."""
    hints = typing.get_type_hints(owner)
    values: dict[str, Any] = {}
    for item in fields(owner):
        variable = _variable(owner, item.name)
        if item.default is not MISSING and variable in environment:
            values[item.name] = _parse(variable, environment[variable].strip(), hints[item.name])
    return values


def _parse(variable: str, text: str, kind: Any) -> Any:
    """Return the text as the field's type; a tuple of names is separated by commas."""
    if kind is bool:
        return _parse_bool(variable, text)
    if kind == tuple[str, ...]:
        return tuple(part.strip().lower() for part in text.split(",") if part.strip())
    try:
        return kind(text)
    except ValueError:
        raise SettingsError(f"{variable}={text!r} is not a number as expected ({kind.__name__}).") from None


def _parse_bool(variable: str, text: str) -> bool:
    words = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
    try:
        return words[text.lower()]
    except KeyError:
        raise SettingsError(f"{variable}={text!r} is neither yes nor no.") from None


def _unknown_variable(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    advice = f" Did you mean {near[0]}?" if near else ""
    return f"{name} is not a setting.{advice} `ovdiff settings` lists all of them."
