"""What a plan supposes of cluster, storage and images: each value with its unit, its reason, and where it is from.

`ovdiff plan --assume NAME=VALUE` replaces one. Nothing here is measured by this project.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

from ovdiff.errors import PlanError

Origin = Literal["published", "assumed"]


def _value(default: float, unit: str, origin: Origin, reason: str, least: float = 0.0, most: float = math.inf) -> Any:
    """Return a field whose documentation is with it; ``least`` and ``most`` bound what it may be."""
    documentation = {"unit": unit, "origin": origin, "reason": reason, "least": least, "most": most}
    return field(default=default, metadata=documentation)


@dataclass(frozen=True)
class Assumptions:
    """The assumptions of a plan; the unit and the reason of each are in its metadata."""

    share_of_peak: float = _value(
        1 / 3, "of the published rate", "assumed", "the goal of this project: within 3 times the floor", 0.001, 1.0
    )
    gpus_per_node: float = _value(8, "GPUs", "published", "boards of NVIDIA's HGX H100 hold 8", 1)
    cores_per_gpu: float = _value(14, "CPU cores", "published", "NVIDIA DGX H100: 112 cores for 8 GPUs", 1)
    network_gbit: float = _value(25, "Gbit/s a node", "assumed", "a usual network card of a rented machine", 0.001)
    storage_gbit: float = _value(1000, "Gbit/s in all", "assumed", "what the storage of the images gives", 0.001)
    requests_per_s: float = _value(
        5500, "requests/s a prefix", "published", "Amazon S3 User Guide: 5,500 GET/HEAD a second and prefix", 0.001
    )
    prefixes: float = _value(1, "prefixes", "assumed", "folders of a bucket that the images are spread over", 1)
    image_kb: float = _value(153, "kB", "published", "COCO train2017: 18 GB for 118,287 photographs", 0.001)
    words_per_image: float = _value(5, "masks", "assumed", "masks that an image gets", 0)
    batch_images: float = _value(32, "images", "assumed", "a task of a worker: this many are lost when it ends", 1)
    ahead: float = _value(3, "batches a GPU", "assumed", "batches that may wait between two steps: back-pressure", 1)
    start_s: float = _value(30, "s", "assumed", "a worker starts, imports torch and loads weights from its disk")
    failures_per_gpu_hour: float = _value(
        419 / (54 * 24 * 16384),
        "failures",
        "published",
        "Llama 3 (arXiv 2407.21783, section 3.3.4): 419 unexpected interruptions in 54 days on 16,384 H100",
    )
    repair_minutes: float = _value(15, "min", "assumed", "until another node has taken the place of one that failed")
    slow_share: float = _value(0.05, "of the GPUs", "assumed", "how many GPUs are slow", 0, 1)
    slow_factor: float = _value(
        1.5, "times the seconds", "published", "Sinha et al., SC 2022 (arXiv 2208.11035): outliers up to 1.5 times", 1
    )
    batch_spread: float = _value(
        0.2, "of the mean", "assumed", "the standard deviation of a batch's seconds: images differ", 0, 2
    )
    process_gb: float = _value(
        1.5, "GB a process", "assumed", "Python, torch and its libraries; a process of tinyworld takes 1.4 GB"
    )

    @property
    def bytes_per_image(self) -> float:
        """Return the bytes of a stored image."""
        return self.image_kb * 1000

    @property
    def failures_per_s(self) -> float:
        """Return how often a GPU fails, and its node with it, in a second."""
        return self.failures_per_gpu_hour / 3600

    @property
    def mean_speed(self) -> float:
        """Return the mean speed of the GPUs, slow ones among them, as a share of a usual one's."""
        return (1 - self.slow_share) + self.slow_share / self.slow_factor

    def rows(self) -> list[dict[str, Any]]:
        """Return name, value, unit, origin and reason of each."""
        return [
            {"name": each.name, "value": getattr(self, each.name), **_documented(each.metadata)}
            for each in fields(self)
        ]


def assume(changes: Iterable[str]) -> Assumptions:
    """Return the assumptions with some replaced.

    Args:
        changes: of the form "NAME=VALUE".

    Raises:
        PlanError: there is no such assumption, or its value cannot be.
    """
    found = {}
    known = {each.name: each.metadata for each in fields(Assumptions)}
    for change in changes:
        name, _, text = change.partition("=")
        if name not in known:
            raise PlanError(f"There is no assumption {name!r}; there are {', '.join(known)}.")
        found[name] = _number(name, text, known[name])
    return replace(Assumptions(), **found)


def _number(name: str, text: str, known: Any) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (known["least"] <= value <= known["most"] and math.isfinite(value)):
        bounds = f"from {known['least']:g}" + (f" to {known['most']:g}" if math.isfinite(known["most"]) else "")
        raise PlanError(f"The assumption {name} is {text!r}; expected a number {bounds}, in {known['unit']}.")
    return value


def _documented(metadata: Any) -> dict[str, Any]:
    return {key: metadata[key] for key in ("unit", "origin", "reason")}
