"""A whole plan: hours, bytes and memory of a run, at several sizes of the cluster, and what caching is worth.

Closed formulas alone; nothing runs, nothing is fetched, and no torch is imported.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ovdiff.errors import PlanError
from ovdiff.planning.assumptions import Assumptions
from ovdiff.planning.costs import Measurement, PresetCosts, preset_costs
from ovdiff.planning.devices import CPU, published
from ovdiff.planning.stage_seconds import StageSeconds, stage_seconds
from ovdiff.planning.throughput import Duration, Load, duration, most_useful_gpus, nodes_of

SIZES = (1, 8, 64, 1024)
"""The numbers of devices at which every plan names the bottleneck."""


@dataclass(frozen=True)
class Asked:
    """What is planned.

    Attributes:
        images: how many.
        categories: how many words; the preset's anchors are built besides.
        preset: the preset's name.
        device: a name of :func:`ovdiff.planning.devices.device_names`.
        count: how many devices.
        assumed: cluster, storage and images.
        keep_features: whether encodings are stored for later edits of the vocabulary.
    """

    images: float
    categories: int
    preset: str
    device: str
    count: int
    assumed: Assumptions = field(default_factory=Assumptions)
    keep_features: bool = False


@dataclass(frozen=True)
class Bytes:
    """Bytes of a run in all: read from the storage, written there, and kept."""

    images_read: float
    weights_read: float
    masks_written: float
    categories_written: float
    features_written: float

    @property
    def moved(self) -> float:
        """Return all that goes over the network."""
        return self.images_read + self.weights_read + self.kept

    @property
    def kept(self) -> float:
        """Return all that is there afterwards."""
        return self.masks_written + self.categories_written + self.features_written


@dataclass(frozen=True)
class Memory:
    """Bytes of memory: of each device, and of each node's machine; and whether the device's memory suffices."""

    device: float
    node: float
    fits: bool


@dataclass(frozen=True)
class Caching:
    """What it is worth to keep the encodings of all images, for one more word.

    Attributes:
        kept: bytes of all encodings.
        edit: one more word with encodings that are read.
        edit_anew: the same when all images are encoded again.
        first: the first run when it writes the encodings.
        first_without: the first run when it does not.
        pays_from_gbit: the network of a node at which reading takes as long as encoding again.
    """

    kept: float
    edit: Duration
    edit_anew: Duration
    first: Duration
    first_without: Duration
    pays_from_gbit: float

    @property
    def pays(self) -> bool:
        """Say whether an edit is quicker with stored encodings."""
        return self.edit.seconds < self.edit_anew.seconds


@dataclass(frozen=True)
class Estimate:
    """The answer.

    Attributes:
        asked: what was asked.
        basis: "measured" if every second on the device was measured there, "extrapolated" if none was, else "partly".
        notes: what a reader must know before believing it.
        stages: the seconds of each stage, with what they rest on.
        load: the sums of these for one category and one image.
        duration: on the devices that were asked for.
        at_sizes: on 1, 8, 64 and 1,024 of them.
        useful: how many of the asked devices the bottleneck leaves busy.
        bytes: moved and kept.
        memory: of a device and of a node.
        caching: ``None`` where the engine keeps no encodings.
    """

    asked: Asked
    basis: Literal["measured", "partly measured", "extrapolated"]
    notes: tuple[str, ...]
    stages: tuple[StageSeconds, ...]
    load: Load
    duration: Duration
    at_sizes: tuple[Duration, ...]
    useful: int
    bytes: Bytes
    memory: Memory
    caching: Caching | None


def estimate(asked: Asked, measured: Sequence[Measurement]) -> Estimate:
    """Return what a run costs.

    Args:
        asked: the run.
        measured: measurements, the ones to believe first (:func:`ovdiff.planning.costs.measurements`).

    Raises:
        PlanError: the preset or the device is unknown, or a number is impossible.
    """
    _check(asked)
    costs = preset_costs(asked.preset)
    assumed = _of_processes(asked.assumed) if asked.device.upper() == CPU else asked.assumed
    stages = stage_seconds(costs.stages, asked.preset, asked.device, measured, assumed)
    load = load_of(asked, costs, stages)
    on_device = [each.basis for each in stages if each.stage.runs_on == "device"]
    all_alike: Literal["measured", "extrapolated"] | None = on_device[0] if len(set(on_device)) == 1 else None
    return Estimate(
        asked=asked,
        basis=all_alike or "partly measured",
        notes=tuple(_notes(asked, costs, stages)),
        stages=tuple(stages),
        load=load,
        duration=duration(load, asked.count, assumed),
        at_sizes=tuple(duration(load, count, assumed) for count in SIZES),
        useful=most_useful_gpus(load, asked.count, assumed),
        bytes=_bytes(asked, costs, nodes_of(asked.count, assumed)),
        memory=_memory(asked, costs, assumed),
        caching=_caching(asked, costs, stages, assumed) if costs.sizes.encoding else None,
    )


def load_of(asked: Asked, costs: PresetCosts, stages: Sequence[StageSeconds]) -> Load:
    """Return the load of a whole run."""
    is_cpu = asked.device.upper() == CPU

    def total(*parts: str, on: str) -> float:
        return sum(each.of_all for each in stages if each.stage.part in parts and each.stage.runs_on == on)

    before, after = total("encode", on="core"), total("label", on="core")
    device_s = total("encode", "label", on="device")
    kept = costs.sizes.encoding if asked.keep_features else 0.0
    built = asked.categories + costs.anchors
    return Load(
        images=asked.images,
        categories=built if any(each.stage.part == "category" for each in stages) else 0,
        category_s=total("category", on="device") + total("category", on="core"),
        device_s=device_s + (before + after if is_cpu else 0.0),
        before_s=0.0 if is_cpu else before,
        after_s=0.0 if is_cpu else after,
        bytes_in=asked.assumed.bytes_per_image,
        bytes_out=costs.sizes.masks * asked.assumed.words_per_image + kept,
        weights=costs.sizes.weights,
    )


def _of_processes(assumed: Assumptions) -> Assumptions:
    """Return the assumptions where a device is a process of one thread: a node has as many as it has cores."""
    cores = assumed.cores_per_gpu
    return replace(
        assumed,
        gpus_per_node=assumed.gpus_per_node * cores,
        cores_per_gpu=1,
        failures_per_gpu_hour=assumed.failures_per_gpu_hour / cores,
    )


def _notes(asked: Asked, costs: PresetCosts, stages: Sequence[StageSeconds]) -> list[str]:
    on_device = [each for each in stages if each.stage.runs_on == "device"]
    guessed = [each for each in on_device if each.basis == "extrapolated"]
    notes = []
    if len(guessed) == len(on_device):
        notes.append(
            f"No stage of {asked.preset} was ever measured on {asked.device}: every second of the device is "
            f"extrapolated. `make gpu` measures them on a machine that has one; then give --measured FILE."
        )
    elif guessed:
        names = ", ".join(each.stage.name for each in guessed)
        notes.append(f"Not measured on {asked.device}, and extrapolated: {names}.")
    notes += [f"{each.stage.name}: {each.stage.note}." for each in stages if each.stage.note]
    if asked.preset == "tinyworld":
        notes.append(
            "tinyworld holds the embedded models, which know the drawn world alone; for photographs plan with --preset "
            "fast, paper or odise."
        )
    if costs.anchors:
        notes.append(f"{costs.anchors} anchors of the preset are built besides, once for all projects of a bank.")
    return notes


def _bytes(asked: Asked, costs: PresetCosts, nodes: int) -> Bytes:
    sizes = costs.sizes
    return Bytes(
        images_read=asked.images * asked.assumed.bytes_per_image,
        weights_read=nodes * sizes.weights,
        masks_written=asked.images * asked.assumed.words_per_image * sizes.masks,
        categories_written=(asked.categories + costs.anchors) * sizes.category,
        features_written=asked.images * sizes.encoding if asked.keep_features else 0.0,
    )


def _memory(asked: Asked, costs: PresetCosts, assumed: Assumptions) -> Memory:
    sizes, card = costs.sizes, published(asked.device)
    device = max(sizes.device_category, sizes.device_image)
    processes = min(asked.count, assumed.gpus_per_node)
    pixels = 8 * assumed.bytes_per_image  # a JPEG's pixels take about eight times its bytes
    ahead = assumed.ahead * assumed.batch_images * pixels
    a_process = assumed.process_gb * 1e9 + sizes.weights + sizes.host_cache + ahead
    return Memory(device, processes * a_process, card is None or device <= card.memory_gb * 1e9)


def _caching(asked: Asked, costs: PresetCosts, stages: Sequence[StageSeconds], assumed: Assumptions) -> Caching:
    without, keeping = (replace(asked, keep_features=kept) for kept in (False, True))
    whole = load_of(without, costs, stages)
    encode_s = sum(each.of_all for each in stages if each.stage.part == "encode" and each.stage.runs_on == "device")
    anew = replace(whole, categories=min(1, whole.categories))
    reads = costs.sizes.encoding
    stored = replace(anew, device_s=whole.device_s - encode_s, before_s=0.0, bytes_in=reads)
    on_node = min(asked.count, assumed.gpus_per_node)
    even = on_node * reads * 8 / 1e9 / whole.device_s if whole.device_s else 0.0
    return Caching(
        kept=asked.images * reads,
        edit=duration(stored, asked.count, assumed),
        edit_anew=duration(anew, asked.count, assumed),
        first=duration(load_of(keeping, costs, stages), asked.count, assumed),
        first_without=duration(whole, asked.count, assumed),
        pays_from_gbit=even,
    )


def _check(asked: Asked) -> None:
    for what, value, least in (
        ("images", asked.images, 1),
        ("categories", asked.categories, 0),
        ("devices", asked.count, 1),
    ):
        if not least <= value <= 1e15:
            raise PlanError(f"A plan for {value:g} {what} cannot be made; expected a number from {least} to 1e15.")
