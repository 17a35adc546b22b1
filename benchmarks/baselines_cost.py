"""What the baselines' presets cost at full size: memory of a window, and arithmetic of an image. No weights, no GPU.

Command, which takes a minute: ``python -m benchmarks.baselines_cost``. It prints a Markdown table. The presets'
``batches.mib_per_window`` come from it: the memory of four windows, divided by four, rounded up.
"""

import math
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from benchmarks import architectures
from benchmarks.full_size_models import FullSizeModels
from benchmarks.memory_trace import Cost, cost_of
from benchmarks.spreads import markdown_table
from ovdiff.baselines import clipseg, groupvit
from ovdiff.baselines.engine import METHODS
from ovdiff.baselines.method import Method
from ovdiff.baselines.preset import BaselinePreset
from ovdiff.engines import load_any_preset
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets.files import baseline_names
from ovdiff.segmenting.windows import plan_windows, working_size_hw

IMAGE_HW = (480, 640)
_WINDOWS = 4


class Models(FullSizeModels):
    """Full-size models on "meta", GroupViT and CLIPSeg among them."""

    def once(self, what: str, settings: Any, load: Any) -> Any:
        """Return what a method would load; its tokenizer is not used here."""
        build, kind = {
            "a GroupViTModel": (architectures.build_groupvit, groupvit._Loaded),
            "a CLIPSegForImageSegmentation": (architectures.build_clipseg, clipseg._Loaded),
        }[what]
        model = cast(nn.Module, build("meta"))
        self._modules.append(model)
        return kind(model, cast(Any, None))


def encoding(name: str, windows: int) -> Cost:
    """Return the cost of encoding so many windows of a 4:3 image at once."""
    preset = load_any_preset(name)
    if not isinstance(preset, BaselinePreset):
        raise TypeError(f"{name} is a preset of {preset.engine!r}")
    planned = plan_windows(working_size_hw(IMAGE_HW, preset.windows), preset.windows)
    models = Models("meta")
    method: Method = METHODS[preset.engine](preset, cast(LoadedModels, models))
    with torch.inference_mode():
        method.load()
    crops = np.zeros((windows, planned[0].height, planned[0].width, 3), dtype=np.uint8)
    return cost_of(lambda: method.encode(crops), models.weights())


def windows_of(name: str) -> int:
    """Return how many windows a 4:3 image has."""
    preset = load_any_preset(name)
    if not isinstance(preset, BaselinePreset):
        raise TypeError(f"{name} is a preset of {preset.engine!r}")
    return len(plan_windows(working_size_hw(IMAGE_HW, preset.windows), preset.windows))


def table() -> str:
    """Return the table of all presets for photographs."""
    lines = []
    for name in baseline_names():
        if not name.endswith("_tinyworld"):
            one, some, count = encoding(name, 1), encoding(name, _WINDOWS), windows_of(name)
            each = math.ceil(some.peak_mib / _WINDOWS)
            lines.append(
                [f"`{name}`", f"{math.ceil(one.peak_mib)}", f"{each}", f"{count}", f"{2 * count * one.gmac / 1000:.2f}"]
            )
    return markdown_table(("preset", "MiB, one window", "MiB, each of four", "windows", "TFLOP an image"), lines)


if __name__ == "__main__":
    print(table())
