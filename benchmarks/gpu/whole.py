"""A whole category, a whole image and a folder of images, through the product's own engine and command."""

import io
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from backend.command.plan import Wanted, make_plan
from backend.command.segment import segment_images
from benchmarks.cost_seconds import time_once
from benchmarks.gpu.busy import Busy, asking
from benchmarks.gpu.context import Context, Results
from benchmarks.gpu.photographs import photograph
from benchmarks.gpu.random_engine import RandomEngine, stocked
from benchmarks.memory_trace import MIB
from ovdiff.vocabulary import Category

_WORD = Category("cat", kind="thing")
_FOLDER_IMAGES, _FEW = 64, 3


def whole_measurements(context: Context, name: str) -> dict[str, Callable[[], Results]]:
    """Return the measurements of a preset as a whole, in the order in which they need one another."""
    folder = context.work / f"bank-{name}"
    made: list[RandomEngine] = []

    def engine() -> RandomEngine:
        if not made:
            made.append(RandomEngine(context.parts(name), folder))
        return made[0]

    return {
        "whole category": lambda: _category(context, engine()),
        "whole image": lambda: _image(context, engine()),
        "folder of images": lambda: _folder(context, engine()),
    }


def _category(context: Context, engine: RandomEngine) -> Results:
    """Build a category once to warm up, and then another; the second one's stages are timed apart."""
    times: dict[str, float] = {}
    with tempfile.TemporaryDirectory(dir=context.work) as folder:
        fresh = RandomEngine(context.parts(engine.preset.name), Path(folder))
        fresh.build(Category("dog"))
        _forget_peak(context)
        begun = last = time.perf_counter()
        stage = "generating"

        def report(now: str, _done: float) -> None:
            nonlocal last, stage
            if now == stage:  # Who waited for each step would keep the GPU from being told ahead what to do.
                return
            _wait(context)
            seconds = time.perf_counter()
            times[stage] = times.get(stage, 0.0) + seconds - last
            last, stage = seconds, now

        fresh.build(_WORD, report)
        _wait(context)
        seconds = time.perf_counter() - begun
    return {
        "seconds": seconds,
        "seconds_by_stage": times,
        "images": engine.preset.generation.images,
        **_peak(context),
    }


def _image(context: Context, engine: RandomEngine) -> Results:
    """Segment photographs of one size that the engine has not seen, one after another; then others half by half.

    Between the halves an encoding goes to the CPU and back, which it does not where both run at once.
    """
    vocabulary = stocked(engine, _built(engine))
    images = [photograph(seed, tiny=context.tiny) for seed in range(2 + 2 * _FEW)]
    for image in images[:2]:
        engine.segment(image, vocabulary)
    _forget_peak(context)
    times = [time_once(partial(engine.segment, image, vocabulary), context.device) for image in images[2 : 2 + _FEW]]
    peak = _peak(context)
    halves: dict[str, list[float]] = {"encode": [], "label": []}
    for image in images[2 + _FEW :]:
        halves["encode"].append(time_once(partial(engine.encode, image), context.device))
        encoded = engine.encode(image)  # from the cache
        halves["label"].append(time_once(partial(engine.label, encoded, vocabulary), context.device))
    return {
        "seconds": statistics.median(times),
        "seconds_by_half": {half: statistics.median(of_half) for half, of_half in halves.items()},
        "categories": len(vocabulary.categories),
        **peak,
    }


def _folder(context: Context, engine: RandomEngine) -> Results:
    """Run `ovdiff segment FOLDER --coco` on JPEG files, and ask the driver how busy the GPU is meanwhile."""
    vocabulary = stocked(engine, _built(engine))
    count = 3 if context.tiny else _FOLDER_IMAGES
    told_by, ask = asking(context.device)
    with tempfile.TemporaryDirectory(dir=context.work) as place:
        folder = Path(place)
        for seed in range(count):
            Image.fromarray(photograph(1000 + seed, tiny=context.tiny)).save(folder / f"{seed:03}.jpg", quality=90)
        plan = make_plan([folder], Wanted(overlay=False, coco=folder / "masks.json"))
        with Busy(ask) as busy, redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            begun = time.perf_counter()
            segment_images(plan, vocabulary, engine, max_px=1 << 26)
            seconds = time.perf_counter() - begun
    return {"images": count, "seconds_per_image": seconds / count, "gpu_busy": busy.share(), "told_by": told_by}


def _built(engine: RandomEngine) -> Category:
    engine.build(_WORD)
    return _WORD


def _wait(context: Context) -> None:
    if context.device == "cuda":
        torch.cuda.synchronize()


def _forget_peak(context: Context) -> None:
    if context.device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _peak(context: Context) -> Results:
    """Return the most that tensors took, and the most that torch held of the device, weights included."""
    if context.device != "cuda":
        return {"peak_mib": None}
    return {
        "peak_mib": torch.cuda.max_memory_allocated() / MIB,
        "held_mib": torch.cuda.max_memory_reserved() / MIB,
    }
