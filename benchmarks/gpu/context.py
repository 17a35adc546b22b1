"""What every measurement is given: the device, how large to measure, where to keep things, and until when."""

import time
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from benchmarks.full_size_models import FullSizeParts, full_size_parts
from benchmarks.gpu.ceilings import measure_ceilings
from benchmarks.gpu.floors import Ceilings
from ovdiff import Preset, load_preset

Results = dict[str, Any]


@dataclass
class Context:
    """One process's measurements.

    Attributes:
        device: "cpu" or "cuda".
        tiny: whether all is small, to try the command out: models an eighth as wide, images of 64 pixels, 2 steps.
        out: the folder of the results.
        work: a folder for checkpoints and the like; what is there is gone on with.
        deadline: when to end, by ``time.monotonic``.
        train_minutes: how long the drawn world's models are trained altogether, all calls counted.
    """

    device: str
    tiny: bool
    out: Path
    work: Path
    deadline: float = float("inf")
    train_minutes: float = 15.0
    _parts: dict[str, FullSizeParts] = field(default_factory=dict)

    @cached_property
    def ceilings(self) -> Ceilings:
        """The device's rates, measured in this process."""
        if self.tiny:
            return measure_ceilings(self.device, side=128, copied_mib=4)
        if self.device == "cpu":
            return measure_ceilings(self.device, side=1024, copied_mib=256)
        return measure_ceilings(self.device, side=8192, copied_mib=2048)

    def seconds_left(self) -> float:
        """Return how long there is to go on."""
        return self.deadline - time.monotonic()

    def preset(self, name: str) -> Preset:
        """Return a preset as it is measured.

        No image is refused, for the check of random weights is chance. No encoding is kept on the disk, where another
        engine would find it, and would be timed at reading.
        """
        preset = load_preset(name)
        preset = replace(
            preset,
            safety=replace(preset.safety, max_redraws=0, margin=10.0),
            cache=replace(preset.cache, disk_mib=0),
        )
        return _tiny(preset) if self.tiny else preset

    def parts(self, name: str) -> FullSizeParts:
        """Return a preset's parts on random weights, built once."""
        if name not in self._parts:
            torch.manual_seed(0)
            dtype = torch.float32 if self.device == "cpu" else None
            self._parts[name] = full_size_parts(self.preset(name), self.device, dtype, 8 if self.tiny else 1)
        return self._parts[name]


def _tiny(preset: Preset) -> Preset:
    """Return a preset of two small images in two steps."""
    extractors = preset.extractors
    seen: dict[str, Any] = {
        name: replace(getattr(extractors, name), support_px=64, window_px=56 if name == "dinov2" else 64)
        for name in extractors.use
    }
    proposals = preset.proposals
    return replace(
        preset,
        generation=replace(preset.generation, images=2, steps=2, size_px=64, batch_size=2),
        extractors=replace(extractors, batch_size=4, **seen),
        proposals=replace(
            proposals,
            cutler=replace(proposals.cutler, short_side_px=64),
            maskcut=replace(proposals.maskcut, input_px=64),
        ),
        prototypes=replace(preset.prototypes, parts=2),
        prefilter=replace(preset.prefilter, max_categories=2),
        windows=replace(preset.windows, short_side_px=64, max_long_side_px=128, crops_px=((64, 32),)),
        refine=replace(preset.refine, pamr_iterations=1, pamr_dilations=(1,)),
        part_check=replace(preset.part_check, max_parts=4),
    )
