"""What each option of a device (`ovdiff.models.devices`) saves, and how many pixels it changes.

A category and some images with an option switched on or off stand beside the same with the device as it is, on the same
random weights, so that whoever reads the result can say which options a GPU should have.
"""

import io
import statistics
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from backend.command.prototypes import build_missing
from benchmarks.cost_seconds import release, time_once
from benchmarks.full_size_models import full_size_parts
from benchmarks.gpu.context import Context, Results
from benchmarks.gpu.photographs import photograph
from benchmarks.gpu.random_engine import RandomEngine, stocked
from ovdiff.vocabulary import Category

PRESET = "fast"
ON_A_GPU = (
    "-resident",
    "-device_masks",
    "-batched_decode",
    "-shared_batches",
    "-device_images",
    "-channels_last",
    "+bf16_matching",
    "+idle_texts",
    "+compile",
    "+graphs",
    "+compile+graphs",
)
ON_A_CPU = (
    "+resident+device_masks+batched_decode+shared_batches+together+device_images+channels_last",
    "+bf16_matching",
)
_WORD = Category("cat", kind="thing")
_FOURS = tuple(
    tuple(Category(name) for name in names)
    for names in (("fish", "tree", "house", "boat"), ("cow", "bus", "sofa", "cup"), ("car", "bed", "hat", "lamp"))
)
_WARM, _TIMED = 2, 3


@dataclass(frozen=True)
class _Run:
    """Seconds of a category, of each of four and of an image, and the label maps of the timed images."""

    category_s: float
    of_four_s: float
    image_s: float
    label_maps: list[NDArray[np.int32]]


def option_measurements(context: Context) -> dict[str, Callable[[], Results]]:
    """Return a measurement for each option."""
    known: list[_Run] = []

    def compared(option: str) -> Results:
        if not known:
            known.append(_run(context, ""))
        base, found = known[0], _run(context, option)
        pairs = zip(found.label_maps, base.label_maps, strict=True)
        return {
            **_seconds(found),
            "without_it": _seconds(base),
            "pixels_that_differ": statistics.fmean(float((ours != theirs).mean()) for ours, theirs in pairs),
        }

    options = ON_A_GPU if context.device == "cuda" else ON_A_CPU
    return {f"{PRESET}, {context.device}{option}": partial(compared, option) for option in options}


def _seconds(run: _Run) -> Results:
    return {
        "category_seconds": run.category_s,
        "category_seconds_of_four": run.of_four_s,
        "image_seconds": run.image_s,
    }


def _run(context: Context, option: str) -> _Run:
    torch.manual_seed(0)
    dtype = torch.float32 if context.device == "cpu" else None
    parts = full_size_parts(context.preset(PRESET), context.device + option, dtype, 8 if context.tiny else 1)
    # Steps are recorded when a shape comes for the second time; a trial on a CPU records none, and needs no warm-up.
    warm_ups = 0 if context.tiny and context.device == "cpu" else 2 if "graphs" in option else 1
    with tempfile.TemporaryDirectory(dir=context.work) as folder:
        fresh = RandomEngine(parts, Path(folder))
        for name in ("dog", "horse")[:warm_ups]:
            fresh.build(Category(name))
        category_s = time_once(partial(fresh.build, Category("bird")), context.device)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            for four in _FOURS[:warm_ups]:
                build_missing(four, fresh)
            of_four_s = time_once(partial(build_missing, _FOURS[-1], fresh), context.device) / len(_FOURS[-1])
    engine = RandomEngine(parts, context.work / f"bank-{PRESET}")
    engine.build(_WORD)
    vocabulary = stocked(engine, _WORD)
    images = [photograph(seed, tiny=context.tiny) for seed in range(_WARM + _TIMED)]
    found = [engine.segment(image, vocabulary) for image in images]
    engine = RandomEngine(parts, context.work / f"bank-{PRESET}")  # whose cache is empty
    engine.segment(images[0], vocabulary)
    times = [time_once(partial(engine.segment, image, vocabulary), context.device) for image in images[_WARM:]]
    del engine, fresh, parts
    release(context.device)
    return _Run(category_s, of_four_s, statistics.median(times), [each.label_map for each in found[_WARM:]])
