"""Does a preset keep to its memory budgets? Its stages with the batches that :mod:`ovdiff.models.memory` would choose.

::

    peak of a stage = weights of every model of the preset + the stage's own peak, traced at that batch + reserve

The reserve is for what a trace does not see: kernels' workspaces and the allocator's fragments. All models are
counted although a stage runs one: a server that has built a category and labelled an image holds them all.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import torch
from torch import Tensor

from benchmarks.cost_stages import Stage, stages, used_extractors
from benchmarks.full_size_models import FullSizeParts, full_size_parts, weights_of
from benchmarks.memory_trace import MIB, Cost, MemoryTrace, PretendedGpu, cost_of, peak_mib_of
from benchmarks.remembered_shapes import RememberedShapes
from ovdiff.models.memory import RESERVE_MIB, Work, items_that_fit
from ovdiff.presets import Preset
from ovdiff.presets.needs import feature_settings

_SAMPLING = ("denoising step with attribution", "VAE decoding", "safety check")  # one batch goes through them


@dataclass(frozen=True)
class PlannedStage:
    """One stage within its budget.

    Attributes:
        stage: its name.
        batch: items that are run at once.
        weights_mib: of all models.
        own_mib: what the stage takes beside them.
        budget_mib: what the preset allows.
    """

    stage: str
    batch: int
    weights_mib: float
    own_mib: float
    budget_mib: float

    @property
    def peak_mib(self) -> float:
        """Return all that the stage takes, the reserve included."""
        return self.weights_mib + self.own_mib + RESERVE_MIB


class Card:
    """A GPU's memory, as :class:`ovdiff.models.memory.DeviceMemory`, of which a trace says how much is used."""

    def __init__(self, total_mib: float, trace: MemoryTrace) -> None:
        """Have so much memory and nobody else on the card."""
        self._total_mib, self._trace = total_mib, trace

    def free_mib(self) -> float:
        """Return what is left."""
        return self._total_mib - self.used_mib()

    def used_mib(self) -> float:
        """Return what lives."""
        return self._trace.live_bytes / MIB


@contextmanager
def pretended_card(total_gib: float) -> Iterator[MemoryTrace]:
    """Let the product ask a card of a size for its memory while it runs on "meta"; yield what it uses."""
    with torch.inference_mode(), RememberedShapes(), MemoryTrace() as trace:
        card = Card(total_gib * 1024, trace)
        with mock.patch("ovdiff.models.memory.memory_of", lambda _device: card), PretendedGpu():
            yield trace


def load_everything(parts: FullSizeParts) -> None:
    """Make every part that a preset has, and so load every weight."""
    with torch.inference_mode(), PretendedGpu():
        _ = parts.generator, parts.safety
        if parts.preset.proposals.source in ("cutler", "maskcut"):
            _ = parts.source
        if parts.preset.prefilter.enabled:
            _ = parts.segmenting.texts
        for name in used_extractors(parts.preset):
            parts.extractors[name]


def plan(preset: Preset, *, quick: bool = False) -> list[PlannedStage]:
    """Return every stage of a preset, each with the batch that fits; ``quick`` leaves out what must run for real.

    Raises:
        DeviceMemoryError: one of a stage's items does not fit.
    """
    parts = full_size_parts(preset, "meta")
    load_everything(parts)
    wanted = {name: stage for name, stage in stages(preset).items() if not quick or stage.traced_on == "meta"}
    batches = {name: _batch(parts, name, stage) for name, stage in wanted.items()}  # errors before the long part
    weights_mib = sum(weight.nbytes for weight in weights_of(parts)) / MIB
    return [
        PlannedStage(
            name,
            batches[name],
            weights_mib,
            peak_mib_of(*_traced(parts, stage, batches[name])),
            _budget_gib(preset, stage) * 1024,
        )
        for name, stage in wanted.items()
    ]


def preset_mib(preset: Preset, name: str) -> int:
    """Return what the preset says that an item of a stage takes; 0 where its batches are not rationed."""
    if name in _SAMPLING:
        one, of_batch = preset.generation.mib_per_image, preset.generation.mib_per_sample
        return one if name == "VAE decoding" or not one else of_batch or one
    extractor, _, rest = name.partition(" features")
    return int(feature_settings(preset, extractor).mib_per_image) if rest else 0


def stage_cost(parts: FullSizeParts, stage: Stage, batch: int) -> Cost:
    """Trace a stage; one that must run for real runs on the CPU, in float32."""
    return cost_of(*_traced(parts, stage, batch))


def _traced(parts: FullSizeParts, stage: Stage, batch: int) -> tuple[Callable[[], object], list[Tensor], str]:
    """Return a stage's work, the weights that it finds, and the kind of device that is watched."""
    if stage.traced_on == "cpu":
        parts = full_size_parts(parts.preset, "cpu")
    with torch.inference_mode(), PretendedGpu():
        run = stage.prepare(parts, batch)
    return run, list(weights_of(parts)), stage.traced_on


def _batch(parts: FullSizeParts, name: str, stage: Stage) -> int:
    preset, budget_gib = parts.preset, _budget_gib(parts.preset, stage)
    with MemoryTrace() as trace:
        trace.hold(weights_of(parts))
        card = Card(budget_gib * 1024, trace)
        return items_that_fit(card, Work(name, _wanted(preset, name, stage), preset_mib(preset, name), budget_gib))


def _budget_gib(preset: Preset, stage: Stage) -> float:
    return preset.memory.build_gib if stage.per_category else preset.memory.segment_gib


def _wanted(preset: Preset, name: str, stage: Stage) -> int:
    """Return how many items the product would like to run at once."""
    if name in _SAMPLING:
        return min(preset.generation.batch_size, preset.generation.images)
    if preset_mib(preset, name):
        return min(preset.extractors.batch_size, stage.per_image or preset.generation.images)
    return stage.batches[-1]
