"""Every setting of the service: one frozen object, built once from the environment and passed down.

This is the only module of the project that reads the environment. The variable of a setting `x` is `OVDIFF_X`. The two
settings that describe Label Studio are `LABEL_STUDIO_URL` and `LABEL_STUDIO_API_KEY`, as in its own documentation. An
unknown `OVDIFF_` variable is an error, because a misspelled limit must not silently be ignored. `settings_table()`
returns all settings as a table.
"""

from __future__ import annotations

import difflib
import hashlib
import ipaddress
import json
import os
import re
import typing
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from backend.errors import SettingsError

PREFIX = "OVDIFF_"
LABEL_STUDIO_PREFIX = "LABEL_STUDIO_"
CLOUDS = ("s3", "gs", "azure-blob")  # the cloud storages of Label Studio 1.23.2, by the schemes of their URIs
MOST_PIXELS = 100_000_000  # the limit of converters.encodings.masks; Pillow alone would open 178 million

_NAME = r"[^\s/:*@\[\]]+"
_HOST = re.compile(rf"(?:\*\.)?{_NAME}|\[[0-9a-f:.]+\]")
_HOST_AND_PORT = re.compile(rf"(?:{_NAME}|\[[0-9a-f:.]+\]):(\d{{1,5}})")

T = TypeVar("T")


def _setting(default: T, unit: str, reason: str, *, secret: bool = False) -> T:
    """Declare a field with its unit and the reason for its default; a secret stays out of `repr`."""
    return field(default=default, repr=not secret, metadata={"unit": unit, "reason": reason})


@dataclass(frozen=True)
class ServerSettings:
    """Where the HTTP server listens, and which requests it answers."""

    host: str = _setting(
        "127.0.0.1", "address", "the service is reachable from this machine only, until somebody decides otherwise"
    )
    port: int = _setting(9090, "TCP port", "Label Studio's documentation uses this port for ML backends")
    threads: int = _setting(
        80,
        "threads",
        "a request holds one while it waits for its turn: three quarters are for predictions, so that 50 people who "
        "open a task at once are all answered; an eighth is for clicks; the rest is left for /setup and events",
    )
    max_body_bytes: int = _setting(
        64 * 2**20,
        "bytes",
        "an interactive request carries every brush region of a task; 20 rough masks of 12 MP are 11 MB",
    )
    connections: int = _setting(
        500,
        "connections",
        "Label Studio needs a dozen; when all are taken, a new one takes the place of a slow one",
    )
    header_timeout_s: float = _setting(
        10.0, "seconds from connecting", "headers are one packet; who takes longer only holds a place"
    )
    idle_timeout_s: float = _setting(30.0, "seconds", "a connection that is kept for a next request holds a place")
    transfer_grace_s: float = _setting(
        30.0, "seconds", "a body or an answer may take this long, and longer at OVDIFF_TRANSFER_BYTES_PER_S"
    )
    transfer_bytes_per_s: float = _setting(
        64 * 1024.0, "bytes per second", "a body or an answer that is slower than this on average is given up"
    )
    basic_user: str = _setting(
        "", "text", "if empty, requests need no password, which is accepted on a loopback host only"
    )
    basic_password: str = _setting("", "text", "the password of OVDIFF_BASIC_USER; set both or neither", secret=True)
    allow_anonymous: bool = _setting(
        False, "yes/no", "whoever listens to the network without a password must say so explicitly"
    )
    log_level: str = _setting(
        "INFO", "logging level", "INFO writes one line for each event; bodies and secrets are never logged"
    )

    def __post_init__(self) -> None:
        """Refuse half a password, and the network without one."""
        _require_between("port", self.port, 0, 65535)
        _require_between("threads", self.threads, 8, 1024)
        _require_between("max_body_bytes", self.max_body_bytes, 1024, 2**31)
        _require_between("connections", self.connections, 1, 100_000)
        _require_between("header_timeout_s", self.header_timeout_s, 0.1, 600)
        _require_between("idle_timeout_s", self.idle_timeout_s, 0.1, 3600)
        _require_between("transfer_grace_s", self.transfer_grace_s, 0.1, 3600)
        _require_between("transfer_bytes_per_s", self.transfer_bytes_per_s, 1, 2**31)
        if bool(self.basic_user) != bool(self.basic_password):
            raise SettingsError("OVDIFF_BASIC_USER and OVDIFF_BASIC_PASSWORD go together; only one of them is set.")
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SettingsError(f"OVDIFF_LOG_LEVEL={self.log_level!r} is none of DEBUG, INFO, WARNING, ERROR.")
        if not (self.requires_password or self.allow_anonymous or _is_loopback(self.host)):
            raise SettingsError(
                f"OVDIFF_HOST={self.host!r} listens to the network without a password. Set "
                "OVDIFF_BASIC_USER and OVDIFF_BASIC_PASSWORD, and the same in Label Studio's model settings, "
                "or OVDIFF_ALLOW_ANONYMOUS=yes."
            )

    @property
    def prediction_requests(self) -> int:
        """How many requests for predictions are in the service at once, computing or waiting; 503 for further ones."""
        return self.threads * 3 // 4

    @property
    def click_requests(self) -> int:
        """How many clicks and rectangles are in the service at once; 503 for further ones."""
        return self.threads // 8

    @property
    def requires_password(self) -> bool:
        """Whether requests need HTTP Basic authentication."""
        return bool(self.basic_user)


@dataclass(frozen=True)
class LabelStudioSettings:
    """The address of Label Studio, and the token that this service shows to it."""

    url: str = _setting("http://localhost:8080", "URL", "this is Label Studio's own default address")
    api_key: str = _setting(
        "",
        "token",
        "a legacy token or a personal access token; new organisations refuse the token that /setup carries",
        secret=True,
    )

    def __post_init__(self) -> None:
        """Require an absolute http(s) URL."""
        try:
            parts = urlsplit(self.url)
            is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:  # brackets without an IPv6 address between them
            is_url = False
        if not is_url:
            raise SettingsError(f"LABEL_STUDIO_URL={self.url!r} is not a URL such as http://localhost:8080.")
        if "@" in parts.netloc:
            raise SettingsError(
                f"LABEL_STUDIO_URL holds a user or a password before {parts.hostname!r}. Leave them out: this service "
                "shows Label Studio the token of LABEL_STUDIO_API_KEY."
            )


@dataclass(frozen=True)
class ImageSettings:
    """Which images may be fetched: from which hosts, how large, and for how long."""

    cloud_links: tuple[str, ...] = _setting(
        CLOUDS,
        "cloud storages",
        "Label Studio shows their images by presigned links; nothing else of a cloud is allowed, such as EC2's hosts, "
        "on which strangers run programs",
    )
    image_hosts: tuple[str, ...] = _setting(
        (),
        "host names, *.name for subdomains",
        "tasks come from whoever imported them: a host is trusted if it is listed",
    )
    private_image_hosts: tuple[str, ...] = _setting(
        (),
        "hosts with their port, such as minio.local:9000",
        "hosts whose address may be private; no other port of theirs, where something else may listen",
    )
    image_max_bytes: int = _setting(
        64 * 2**20, "bytes", "far more than a camera's JPEG needs; bytes are counted while they arrive"
    )
    image_max_px: int = _setting(
        50_000_000, "pixels", "such an image takes 150 MB as RGB; its size is read from the header, before decoding"
    )
    pixels_at_once: int = _setting(
        24_000_000,
        "pixels",
        "images that are decoded and segmented at the same time, at 25 bytes a pixel: 0.6 GB; a larger image is worked "
        "on alone",
    )
    connect_timeout_s: float = _setting(5.0, "seconds", "a reachable server accepts a connection much sooner")
    image_timeout_s: float = _setting(20.0, "seconds", "the time for one image, all redirects included")
    max_redirects: int = _setting(4, "redirects", "presigned links need one or two redirects")

    def __post_init__(self) -> None:
        """Check the hosts and the ranges."""
        for cloud in self.cloud_links:
            if cloud not in CLOUDS:
                raise SettingsError(f"OVDIFF_CLOUD_LINKS: {cloud!r} is none of {', '.join(CLOUDS)}.")
        for host in self.image_hosts:
            if not _HOST.fullmatch(host):
                raise SettingsError(
                    f"OVDIFF_IMAGE_HOSTS: {host!r} is no host name. Write the name alone, such as images.example.org, "
                    "or *.example.org for every host below it; no scheme, path or port."
                )
        for host in self.private_image_hosts:
            _require_port(host)
        _require_between("image_max_bytes", self.image_max_bytes, 1, 2**31)
        _require_between("image_max_px", self.image_max_px, 1, MOST_PIXELS)
        _require_between("pixels_at_once", self.pixels_at_once, 1, 10**10)
        _require_between("connect_timeout_s", self.connect_timeout_s, 0.05, 60)
        _require_between("image_timeout_s", self.image_timeout_s, 0.05, 90)
        _require_between("max_redirects", self.max_redirects, 0, 20)


@dataclass(frozen=True)
class PredictionSettings:
    """How long a request may take, and how much a project may ask for."""

    wait_for_prototypes_s: float = _setting(
        60.0, "seconds", "a first prediction often waits for prototypes; Label Studio drops answers after 100 s"
    )
    answer_within_s: float = _setting(
        95.0,
        "seconds",
        "no task is begun that would end later, by the time that the last ones took; Label Studio drops answers after "
        "100 s",
    )
    prediction_slots: int = _setting(
        4,
        "tasks",
        "they share one engine: while it computes one task, the images of others arrive and their regions are written",
    )
    remember_bytes: int = _setting(
        256 * 2**20,
        "bytes",
        "the last segmentations are kept, at 5 bytes a pixel: 17 images of 2000 x 1500, so that a click is a look-up",
    )
    remember_s: float = _setting(
        600.0,
        "seconds",
        "a click trusts that an image is still the same for so long after it was fetched; a prediction always fetches",
    )
    partial_predictions: bool = _setting(
        False,
        "yes/no",
        "a prediction made before every category was ready is stored, and a task that was opened keeps it for ever",
    )
    failure_rows: int = _setting(
        200, "tasks", "/status lists the tasks that failed last, with the reason; a thousand rows nobody reads"
    )
    retry_failed_after_s: float = _setting(
        300.0, "seconds", "a category that failed is tried again after this time, instead of at every /setup"
    )
    max_categories: int = _setting(
        200, "categories", "each category costs a generation of images; a longer label config is probably a mistake"
    )
    event_rows: int = _setting(
        10_000, "events", "the webhook needs no password, so the number of events that it can store is limited"
    )

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require_between("wait_for_prototypes_s", self.wait_for_prototypes_s, 0, 3600)
        _require_between("answer_within_s", self.answer_within_s, 0.1, 3600)
        if self.wait_for_prototypes_s >= self.answer_within_s:
            raise SettingsError(
                f"OVDIFF_WAIT_FOR_PROTOTYPES_S={self.wait_for_prototypes_s:g} leaves no time to predict within "
                f"OVDIFF_ANSWER_WITHIN_S={self.answer_within_s:g}."
            )
        _require_between("remember_bytes", self.remember_bytes, 0, 2**40)
        _require_between("remember_s", self.remember_s, 0, 86400)
        _require_between("prediction_slots", self.prediction_slots, 1, 128)
        _require_between("failure_rows", self.failure_rows, 1, 100_000)
        _require_between("retry_failed_after_s", self.retry_failed_after_s, 0.1, 86400)  # 0: a thread in circles
        _require_between("max_categories", self.max_categories, 1, 10_000)
        _require_between("event_rows", self.event_rows, 1, 10_000_000)


@dataclass(frozen=True)
class OutputSettings:
    """How masks become regions. Every field is part of `model_version`: a change leads to new predictions."""

    polygon_tolerance_px: float = _setting(
        1.0, "px of the original image", "the outline deviates from the mask by this much at most"
    )
    polygon_max_vertices: int = _setting(200, "vertices", "a person can still drag the vertices of such an outline")
    min_part_px: int = _setting(
        16, "px of the original image", "a smaller part of a mask becomes no polygon or rectangle of its own"
    )
    max_regions: int = _setting(200, "regions", "the editor becomes slow with far fewer regions")
    max_result_bytes: int = _setting(
        8 * 2**20,
        "bytes of JSON",
        "bitmasks of 5.7 MB in one task kept Label Studio's editor busy for two minutes",
    )

    def __post_init__(self) -> None:
        """Check the ranges."""
        _require_between("polygon_tolerance_px", self.polygon_tolerance_px, 0, 1000)
        _require_between("polygon_max_vertices", self.polygon_max_vertices, 3, 100_000)
        _require_between("min_part_px", self.min_part_px, 1, 10**9)
        _require_between("max_regions", self.max_regions, 1, 100_000)
        _require_between("max_result_bytes", self.max_result_bytes, 1, 2**31)

    def fingerprint(self) -> str:
        """Return a hex hash of all values, for `model_version`."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Settings:
    """All settings, in groups: each part of the service receives its own group."""

    data_dir: Path = _setting(  # noqa: RUF009 — dataclasses.field in disguise, and a Path does not change
        Path("ovdiff-data"),
        "folder",
        "it holds the prototype bank and the state file; it may be copied while the service is stopped",
    )
    preset: str = _setting("tinyworld", "preset name or file", "its embedded models need no download")
    device: str = _setting("cpu", "torch device", "cpu works everywhere; choose cuda where there is a GPU")
    server: ServerSettings = field(default_factory=ServerSettings)
    label_studio: LabelStudioSettings = field(default_factory=LabelStudioSettings)
    images: ImageSettings = field(default_factory=ImageSettings)
    prediction: PredictionSettings = field(default_factory=PredictionSettings)
    output: OutputSettings = field(default_factory=OutputSettings)

    @property
    def bank_dir(self) -> Path:
        """Folder of the prototype bank."""
        return self.data_dir / "bank"

    @property
    def state_file(self) -> Path:
        """SQLite file with projects and events."""
        return self.data_dir / "state.sqlite"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """Build the settings from environment variables.

        Raises:
            SettingsError: an OVDIFF_ variable is unknown, or a value is malformed or out of range.
        """
        known = {row.variable for row in _rows()}
        for name in environment:
            if name.startswith(PREFIX) and name not in known:
                raise SettingsError(_unknown_variable(name, known))
        groups = {name: group(**_values(group, environment)) for name, group in _groups().items()}
        return cls(**_values(cls, environment), **groups)


def read_settings() -> Settings:
    """Build the settings from the environment of this process."""
    return Settings.from_environment(os.environ)


@dataclass(frozen=True)
class SettingRow:
    """One row of the settings table."""

    variable: str
    default: str
    unit: str
    reason: str


@dataclass(frozen=True)
class SettingInForce:
    """One setting as this process has it; a secret's value is not shown.

    Attributes:
        variable: the environment variable.
        value: the value in force, as text.
        origin: where the value comes from: "environment" or "default".
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
    given = os.environ if environment is None else environment
    settings = Settings.from_environment(given)
    values = {
        _variable(type(owner), item.name): (item, getattr(owner, item.name))
        for owner in (settings, *(getattr(settings, name) for name in _groups()))
        for item in fields(owner)
        if item.default is not MISSING
    }
    return [
        SettingInForce(
            row.variable,
            _shown(value) if item.repr or not value else "(set, not shown)",
            "environment" if row.variable in given else "default",
            row.unit,
            row.reason,
        )
        for row in _rows()
        for item, value in [values[row.variable]]
    ]


def settings_table() -> str:
    """Return all settings as a Markdown table: variable, default, unit, reason."""
    lines = ["| variable | default | unit | why |", "|---|---|---|---|"]
    lines += [f"| `{row.variable}` | `{row.default}` | {row.unit} | {row.reason} |" for row in _rows()]
    return "\n".join(lines)


def _groups() -> dict[str, Any]:
    """Return the fields of Settings that are groups, name to class."""
    hints = typing.get_type_hints(Settings)
    return {item.name: hints[item.name] for item in fields(Settings) if item.default is MISSING}


def _rows() -> list[SettingRow]:
    """Return every setting of Settings and of its groups."""
    return [
        SettingRow(_variable(owner, item.name), _shown(item.default), item.metadata["unit"], item.metadata["reason"])
        for owner in (Settings, *_groups().values())
        for item in fields(owner)
        if item.default is not MISSING
    ]


def _variable(owner: type, name: str) -> str:
    prefix = LABEL_STUDIO_PREFIX if owner is LabelStudioSettings else PREFIX
    return prefix + name.upper()


def _shown(default: object) -> str:
    """Return a value as a person writes it into the environment."""
    if isinstance(default, bool):
        return "yes" if default else "no"
    return ", ".join(default) if isinstance(default, tuple) else str(default)


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


def _require_between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise SettingsError(f"{PREFIX}{name.upper()}={value} is outside {low} to {high}.")


def _require_port(entry: str) -> None:
    """Require a host with its port, as in minio.local:9000."""
    found = _HOST_AND_PORT.fullmatch(entry)
    if found is None:
        host = entry.rpartition("://")[2].partition("/")[0]
        host = f"[{host}]" if host.count(":") > 1 and not host.startswith("[") else host
        example = host if ":" in host.rpartition("]")[2] else f"{host or 'minio.local'}:9000"
        raise SettingsError(
            f"OVDIFF_PRIVATE_IMAGE_HOSTS: {entry!r} is no host with its port. Write, for example, {example} with the "
            "port that its addresses show (if they show none: 443 for https, 80 for http)."
        )
    _require_between("private_image_hosts", int(found[1]), 1, 65535)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
