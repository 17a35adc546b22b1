"""The settings by the part of the service that reads them: each part receives its own group.

Tested by tests/backend/settings/test_environment.py.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from backend.errors import SettingsError
from backend.settings.fields import HOST, HOST_AND_PORT, is_loopback, require_between, require_port, setting

CLOUDS = ("s3", "gs", "azure-blob")  # the cloud storages of Label Studio 1.23.2, by the schemes of their URIs
MOST_PIXELS = 100_000_000  # the limit of converters.encodings.masks; Pillow alone would open 178 million


@dataclass(frozen=True)
class ServerSettings:
    """Where the HTTP server listens, and which requests it answers."""

    host: str = setting(
        "127.0.0.1", "address", "the service is reachable from this machine only, until somebody decides otherwise"
    )
    port: int = setting(9090, "TCP port", "Label Studio's documentation uses this port for ML backends")
    threads: int = setting(
        80,
        "threads",
        "a request holds one while it waits for its turn: three quarters are for predictions, so that 50 people who "
        "open a task at once are all answered; an eighth for clicks, a tenth for pages; the rest for /setup and events",
    )
    max_body_bytes: int = setting(
        64 * 2**20,
        "bytes",
        "an interactive request carries every brush region of a task; 20 rough masks of 12 MP are 11 MB",
    )
    connections: int = setting(
        500,
        "connections",
        "Label Studio needs a dozen; when all are taken, a new one takes the place of a slow one",
    )
    header_timeout_s: float = setting(
        10.0, "seconds from connecting", "headers are one packet; who takes longer only holds a place"
    )
    idle_timeout_s: float = setting(30.0, "seconds", "a connection that is kept for a next request holds a place")
    transfer_grace_s: float = setting(
        30.0, "seconds", "a body or an answer may take this long, and longer at OVDIFF_TRANSFER_BYTES_PER_S"
    )
    transfer_bytes_per_s: float = setting(
        64 * 1024.0, "bytes per second", "a body or an answer that is slower than this on average is given up"
    )
    basic_user: str = setting(
        "", "text", "if empty, requests need no password, which is accepted on a loopback host only"
    )
    basic_password: str = setting("", "text", "the password of OVDIFF_BASIC_USER; set both or neither", secret=True)
    allow_anonymous: bool = setting(
        False, "yes/no", "whoever listens to the network without a password must say so explicitly"
    )
    open_metrics: bool = setting(
        False, "yes/no", "/metrics tells how much is labelled and what fails; Prometheus can send the password"
    )
    log_level: str = setting(
        "INFO", "logging level", "INFO writes one line for each event; bodies and secrets are never logged"
    )
    log_format: str = setting(
        "text",
        "'text' or 'json'",
        "people read text; with 'json' each line is an object for programs",
    )

    def __post_init__(self) -> None:
        """Refuse half a password, and the network without one."""
        require_between("port", self.port, 0, 65535)
        require_between("threads", self.threads, 8, 1024)
        require_between("max_body_bytes", self.max_body_bytes, 1024, 2**31)
        require_between("connections", self.connections, 1, 100_000)
        require_between("header_timeout_s", self.header_timeout_s, 0.1, 600)
        require_between("idle_timeout_s", self.idle_timeout_s, 0.1, 3600)
        require_between("transfer_grace_s", self.transfer_grace_s, 0.1, 3600)
        require_between("transfer_bytes_per_s", self.transfer_bytes_per_s, 1, 2**31)
        if bool(self.basic_user) != bool(self.basic_password):
            raise SettingsError("OVDIFF_BASIC_USER and OVDIFF_BASIC_PASSWORD go together; only one of them is set.")
        if self.log_level not in ("DEBUG", "INFO", "WARNING", "ERROR"):
            raise SettingsError(f"OVDIFF_LOG_LEVEL={self.log_level!r} is none of DEBUG, INFO, WARNING, ERROR.")
        if self.log_format not in ("text", "json"):
            raise SettingsError(f"OVDIFF_LOG_FORMAT={self.log_format!r} is neither 'text' nor 'json'.")
        if not (self.requires_password or self.allow_anonymous or is_loopback(self.host)):
            raise SettingsError(
                f"OVDIFF_HOST={self.host!r} listens to the network without a password. Set "
                "OVDIFF_BASIC_USER and OVDIFF_BASIC_PASSWORD, and the same in Label Studio's model settings, "
                "or OVDIFF_ALLOW_ANONYMOUS=yes."
            )

    @property
    def prediction_requests(self) -> int:
        """How many requests for predictions are in the service at once, computing or waiting; 503 for further ones."""
        return min(self.threads * 3 // 4, self.threads - self.click_requests - self.page_requests - 1)

    @property
    def click_requests(self) -> int:
        """How many clicks and rectangles are in the service at once; 503 for further ones."""
        return self.threads // 8

    @property
    def page_requests(self) -> int:
        """How many requests of people's pages and their pictures are in the service at once; 503 for further ones."""
        return max(1, self.threads // 10)

    @property
    def requires_password(self) -> bool:
        """Whether requests need HTTP Basic authentication."""
        return bool(self.basic_user)


@dataclass(frozen=True)
class LabelStudioSettings:
    """The address of Label Studio, and the token that this service shows to it."""

    url: str = setting("http://localhost:8080", "URL", "this is Label Studio's own default address")
    public_url: str = setting(
        "",
        "URL",
        "the address that people have of Label Studio, for links on the backend's page; empty: the same as "
        "LABEL_STUDIO_URL, which in a container is often an address that no browser knows",
    )
    api_key: str = setting(
        "",
        "token",
        "a legacy token or a personal access token; new organisations refuse the token that /setup carries",
        secret=True,
    )

    def __post_init__(self) -> None:
        """Require absolute http(s) URLs."""
        _require_url("LABEL_STUDIO_URL", self.url)
        if self.public_url:
            _require_url("LABEL_STUDIO_PUBLIC_URL", self.public_url)

    @property
    def url_for_people(self) -> str:
        """The address that people have of Label Studio, without a slash at its end."""
        return (self.public_url or self.url).rstrip("/")


def _require_url(variable: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # brackets without an IPv6 address between them
        is_url = False
    if not is_url:
        raise SettingsError(f"{variable}={url!r} is not a URL such as http://localhost:8080.")
    if "@" in parts.netloc:
        raise SettingsError(
            f"{variable} holds a user or a password before {parts.hostname!r}. Leave them out: this service "
            "shows Label Studio the token of LABEL_STUDIO_API_KEY."
        )


@dataclass(frozen=True)
class ImageSettings:
    """Which images may be fetched: from which hosts, how large, and for how long."""

    cloud_links: tuple[str, ...] = setting(
        CLOUDS,
        "cloud storages",
        "Label Studio shows their images by presigned links; nothing else of a cloud is allowed, such as EC2's hosts, "
        "on which strangers run programs",
    )
    image_hosts: tuple[str, ...] = setting(
        (),
        "host names, *.name for subdomains",
        "tasks come from whoever imported them: a host is trusted if it is listed",
    )
    private_image_hosts: tuple[str, ...] = setting(
        (),
        "hosts with their port, such as minio.local:9000",
        "hosts whose address may be private; no other port of theirs, where something else may listen",
    )
    image_max_bytes: int = setting(
        64 * 2**20, "bytes", "far more than a camera's JPEG needs; bytes are counted while they arrive"
    )
    image_max_px: int = setting(
        50_000_000, "pixels", "such an image takes 150 MB as RGB; its size is read from the header, before decoding"
    )
    pixels_at_once: int = setting(
        24_000_000,
        "pixels",
        "images that are decoded and segmented at the same time, at 25 bytes a pixel: 0.6 GB; a larger image is worked "
        "on alone",
    )
    connect_timeout_s: float = setting(5.0, "seconds", "a reachable server accepts a connection much sooner")
    image_timeout_s: float = setting(20.0, "seconds", "the time for one image, all redirects included")
    max_redirects: int = setting(4, "redirects", "presigned links need one or two redirects")

    def __post_init__(self) -> None:
        """Check the hosts and the ranges."""
        for cloud in self.cloud_links:
            if cloud not in CLOUDS:
                raise SettingsError(f"OVDIFF_CLOUD_LINKS: {cloud!r} is none of {', '.join(CLOUDS)}.")
        for host in self.image_hosts:
            if not HOST.fullmatch(host):
                raise SettingsError(
                    f"OVDIFF_IMAGE_HOSTS: {host!r} is no host name. Write the name alone, such as images.example.org, "
                    "or *.example.org for every host below it; no scheme, path or port."
                )
        for host in self.private_image_hosts:
            require_port(host)
        require_between("image_max_bytes", self.image_max_bytes, 1, 2**31)
        require_between("image_max_px", self.image_max_px, 1, MOST_PIXELS)
        require_between("pixels_at_once", self.pixels_at_once, 1, 10**10)
        require_between("connect_timeout_s", self.connect_timeout_s, 0.05, 60)
        require_between("image_timeout_s", self.image_timeout_s, 0.05, 90)
        require_between("max_redirects", self.max_redirects, 0, 20)


@dataclass(frozen=True)
class PredictionSettings:
    """How long a request may take, and how much a project may ask for."""

    wait_for_prototypes_s: float = setting(
        60.0, "seconds", "a first prediction often waits for prototypes; Label Studio drops answers after 100 s"
    )
    answer_within_s: float = setting(
        95.0,
        "seconds",
        "no task is begun that would end later, by the time that the last ones took; Label Studio drops answers after "
        "100 s",
    )
    prediction_slots: int = setting(
        4,
        "tasks",
        "they share one engine: while it computes one task, the images of others arrive and their regions are written",
    )
    remember_bytes: int = setting(
        256 * 2**20,
        "bytes",
        "the last segmentations are kept, at 7 bytes a pixel: 12 images of 2000 x 1500, so that a click is a look-up",
    )
    remember_s: float = setting(
        600.0,
        "seconds",
        "a click trusts that an image is still the same for so long after it was fetched, and a stored prediction that "
        "an uploaded one is; the servers of other images, which somebody may replace, are asked for each prediction",
    )
    partial_predictions: bool = setting(
        False,
        "yes/no",
        "a prediction made before every category was ready is stored, and a task that was opened keeps it for ever",
    )
    stored_bytes: int = setting(
        256 * 2**20,
        "bytes on disk",
        "whole predictions, at 5 to 200 kB each, so that a repeated request is a look-up, also after a restart; 0 "
        "keeps none",
    )
    prelabel: bool = setting(
        False,
        "yes/no",
        "the service predicts whole projects by itself once their vocabulary is ready; it writes into every connected "
        "project, so somebody must want it. Whoever asks for a prediction comes first",
    )
    learn: bool = setting(
        False,
        "yes/no",
        "an annotation of a project whose label config does not say learn= becomes a lesson as soon as it is "
        "submitted; it then changes the predictions of all tasks, so somebody must want it",
    )
    delete_replaced_after_s: float = setting(
        12 * 3600.0,
        "seconds",
        "an old stored prediction of ovdiff is deleted so long after a new one took its place: Label Studio refuses "
        "an annotation that began with a deleted prediction, and people keep a task open for up to a working day",
    )
    failure_rows: int = setting(
        200, "tasks", "/status lists the tasks that failed last, with the reason; a thousand rows nobody reads"
    )
    retry_failed_after_s: float = setting(
        300.0, "seconds", "a category that failed is tried again after this time, instead of at every /setup"
    )
    max_categories: int = setting(
        200, "categories", "each category costs a generation of images; a longer label config is probably a mistake"
    )
    event_rows: int = setting(
        10_000, "events", "the webhook needs no password, so the number of events that it can store is limited"
    )

    def __post_init__(self) -> None:
        """Check the ranges."""
        require_between("wait_for_prototypes_s", self.wait_for_prototypes_s, 0, 3600)
        require_between("answer_within_s", self.answer_within_s, 0.1, 3600)
        if self.wait_for_prototypes_s >= self.answer_within_s:
            raise SettingsError(
                f"OVDIFF_WAIT_FOR_PROTOTYPES_S={self.wait_for_prototypes_s:g} leaves no time to predict within "
                f"OVDIFF_ANSWER_WITHIN_S={self.answer_within_s:g}."
            )
        require_between("remember_bytes", self.remember_bytes, 0, 2**40)
        require_between("remember_s", self.remember_s, 0, 86400)
        require_between("stored_bytes", self.stored_bytes, 0, 2**40)
        require_between("delete_replaced_after_s", self.delete_replaced_after_s, 0, 30 * 86400)
        require_between("prediction_slots", self.prediction_slots, 1, 128)
        require_between("failure_rows", self.failure_rows, 1, 100_000)
        require_between("retry_failed_after_s", self.retry_failed_after_s, 0.1, 86400)  # 0: a thread in circles
        require_between("max_categories", self.max_categories, 1, 10_000)
        require_between("event_rows", self.event_rows, 1, 10_000_000)


@dataclass(frozen=True)
class RaySettings:
    """Whether prototypes and segmentations are made on a Ray cluster, and how much of it is taken."""

    ray: str = setting(
        "",
        "auto, HOST:PORT or local",
        "empty: this process computes; else the cluster on which prototypes and segmentations are made, as with --ray",
    )
    ray_workers: int = setting(
        0, "engines", "how many segment; 0: as many as the cluster has room for, a quarter of it left for building"
    )
    ray_cpus: float = setting(
        1.0, "processors", "of each engine, and so its threads; more threads make one image quicker and fewer at once"
    )
    ray_gpus: float = setting(
        0.0, "GPUs", "of each engine that segments, such as 0.25; 0: by the preset's memory budget"
    )

    def __post_init__(self) -> None:
        """Check the form of the address and the ranges."""
        if self.ray and self.ray not in ("auto", "local") and not HOST_AND_PORT.fullmatch(self.ray):
            raise SettingsError(f"OVDIFF_RAY={self.ray!r} is none of auto, local or HOST:PORT, such as head:6379.")
        require_between("ray_workers", self.ray_workers, 0, 10_000)
        require_between("ray_cpus", self.ray_cpus, 0.01, 1024)
        require_between("ray_gpus", self.ray_gpus, 0, 64)


@dataclass(frozen=True)
class OutputSettings:
    """How masks become regions. Every field is part of `model_version`: a change leads to new predictions."""

    regions_per: str = setting(
        "category",
        "'category' or 'object'",
        "one brush region a category is what semantic projects want, and many brush regions freeze the editor; with "
        "'object' each object of a thing is a region of its own, as the preset's [instances] finds it",
    )
    polygon_tolerance_px: float = setting(
        1.0, "px of the original image", "the outline deviates from the mask by this much at most"
    )
    polygon_max_vertices: int = setting(200, "vertices", "a person can still drag the vertices of such an outline")
    min_part_px: int = setting(
        16, "px of the original image", "a smaller part of a mask becomes no polygon or rectangle of its own"
    )
    min_score: float = setting(
        0.0,
        "score from 0 to 1",
        "what is hidden cannot be corrected, so nothing is hidden unless somebody decides it; regions with a lower "
        "score are in no prediction, unless their label says otherwise by threshold=",
    )
    max_regions: int = setting(200, "regions", "the editor becomes slow with far fewer regions")
    max_result_bytes: int = setting(
        8 * 2**20,
        "bytes of JSON",
        "bitmasks of 5.7 MB in one task kept Label Studio's editor busy for two minutes",
    )

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.regions_per not in ("category", "object"):
            raise SettingsError(f"OVDIFF_REGIONS_PER={self.regions_per!r} is neither 'category' nor 'object'.")
        require_between("polygon_tolerance_px", self.polygon_tolerance_px, 0, 1000)
        require_between("polygon_max_vertices", self.polygon_max_vertices, 3, 100_000)
        require_between("min_part_px", self.min_part_px, 1, 10**9)
        require_between("min_score", self.min_score, 0, 1)
        require_between("max_regions", self.max_regions, 1, 100_000)
        require_between("max_result_bytes", self.max_result_bytes, 1, 2**31)

    def fingerprint(self) -> str:
        """Return a hex hash of all values, for `model_version`."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
