"""Each stage of a category and of an image beside its floor, at the batches that the product runs.

A stage's floor is that of its own arithmetic and bytes (:mod:`benchmarks.gpu.floors`), counted on a run of it, at the
rate of the dtype in which it computes. Host work, such as resizing and run lengths, has no floor here: its seconds
stand alone, and it is to be hidden behind the device's.
"""

import time
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch

from benchmarks.cost_seconds import release, time_call
from benchmarks.cost_stages import (
    CATEGORIES,
    TEXTS,
    WORKING_HW,
    Stage,
    feature_shape,
    noise,
    prototype_table,
    stages,
)
from benchmarks.full_size_models import FullSizeParts
from benchmarks.gpu.context import Context, Results
from benchmarks.gpu.floors import floor, work_of
from converters.encodings.brush import mask_to_brush_rle
from ovdiff.building.clustering import k_means
from ovdiff.building.generation.tokens import fill
from ovdiff.building.steps import enlarge
from ovdiff.models.device_images import resize_lanczos, to_device
from ovdiff.presets import Preset
from ovdiff.presets.model_settings import ClipModelSettings, ModelSettings
from ovdiff.presets.needs import feature_dtype
from ovdiff.segmenting.segmenter import BACKGROUND, ScoreMerger, class_scores, decide
from ovdiff.segmenting.windows import plan_windows, resize_to_working, working_size_hw

Run = Callable[[], object]
Prepare = Callable[[FullSizeParts, int], Run]

_IMAGE_HW = (480, 640)
_TINY_WORKING_HW = (64, 85)
_MOVES = 30
"""Of k-means' centres: features of parts of things settle after about so many, random rows never."""


def stage_measurements(context: Context, name: str) -> dict[str, Callable[[], Results]]:
    """Return a measurement for each stage of a preset, by the stage's name."""
    preset = context.preset(name)
    working_hw = _TINY_WORKING_HW if context.tiny else WORKING_HW
    asked = device_stages(preset, working_hw)
    found = {stage_name: _timed(context, name, stage_name, stage) for stage_name, stage in asked.items()}
    return found | {what: _timed_host(context, name, prepare) for what, prepare in host_stages(preset).items()}


def device_stages(preset: Preset, working_hw: tuple[int, int]) -> dict[str, Stage]:
    """Return the stages that compute on the device, on data that is neither empty nor zeros."""
    found = stages(preset, working_hw)
    windows = plan_windows(working_hw, preset.windows)
    for extractor in preset.extractors.use:
        key = f"{extractor} clustering"
        found[key] = Stage("side", _clustering(extractor), 2, 0, float32=True)
    for extractor in preset.active_extractors():
        found[f"{extractor} matching"] = Stage("window", _matching(extractor), 0, len(windows), float32=True)
    found["prompt encoding"] = Stage("category", _prompts, 1, 0)
    found["merging windows"] = Stage("window", _merging(working_hw), 0, len(windows), float32=True)
    found["resizing on the device"] = Stage("image", _resizing_there, 0, 1, float32=True)
    found["deciding"] = Stage("image", _deciding(working_hw), 0, 1, float32=True)
    if preset.proposals.source == "maskcut":
        found["MaskCut"] = Stage("image", _maskcut, preset.generation.images)
    return found


def host_stages(preset: Preset) -> dict[str, Prepare]:
    """Return the stages that run on the host: of an image where the name says no more."""
    return {
        "resizing to the working size": lambda _parts, _count: _resizing(preset),
        "run lengths of the masks": lambda _parts, _count: _run_lengths,
        "enlarging a support image's attribution": lambda _parts, _count: (
            lambda: enlarge(
                [np.random.default_rng(0).random((preset.generation.size_px // 8,) * 2, dtype=np.float32)],
                preset.generation.size_px,
            )
        ),
    }


def _timed(context: Context, preset_name: str, name: str, stage: Stage) -> Callable[[], Results]:
    def measure() -> Results:
        parts, device = context.parts(preset_name), context.device
        count = _count(context, parts, name, stage)
        with torch.inference_mode():
            run = stage.prepare(parts, count)
            work = work_of(run).per_item(count)
            timing = time_call(run, device)
        dtype = _dtype(parts.preset, name, stage, device)
        least = floor(work, context.ceilings, dtype)
        seconds = timing.seconds / count
        release(device)
        return {
            "item": stage.item,
            "batch": count,
            "seconds_per_item": seconds,
            "floor": {"tflop": work.flop / 1e12, "gbyte": work.bytes / 1e9, "dtype": dtype, **asdict(least)},
            "times_the_floor": seconds / least.seconds if least.seconds else None,
            "peak_mib": timing.peak_mib,
            "repeats": timing.repeats,
            "items_per_category": stage.per_category,
            "items_per_image": stage.per_image,
        }

    return measure


def _timed_host(context: Context, preset_name: str, prepare: Prepare) -> Callable[[], Results]:
    def measure() -> Results:
        run = prepare(context.parts(preset_name), 1)
        run()
        begun, repeats = time.perf_counter(), 3
        for _ in range(repeats):
            run()
        return {"seconds_per_item": (time.perf_counter() - begun) / repeats, "runs_on": "the host, one thread"}

    return measure


def _count(context: Context, parts: FullSizeParts, name: str, stage: Stage) -> int:
    """Return how many items the product runs at once."""
    if stage.batches[0] == TEXTS:
        return 4 if context.tiny else TEXTS
    preset = parts.preset
    wanted = max(stage.per_category, stage.per_image, 1)
    if name in ("denoising step with attribution", "VAE decoding", "safety check"):
        wanted = min(preset.generation.images, preset.generation.batch_size)
    elif " features," in name:
        wanted = min(wanted, preset.extractors.batch_size)
    elif "matching" not in name and "merging" not in name:
        return 1
    return 1 if wanted == 0 else wanted


def _dtype(preset: Preset, name: str, stage: Stage, device: str) -> str:
    """Return the dtype of a stage's matrix products."""
    if stage.float32 or device == "cpu":
        return "float32"
    extractor = name.split(" ", 1)[0]
    if extractor in preset.extractors.use:
        return feature_dtype(preset, extractor)
    if name == "CLIP image embedding":
        return preset.models.given("clip", ClipModelSettings).dtype
    if name.startswith("MaskCut"):
        return preset.models.given("dino", ModelSettings).dtype
    return preset.models.generator.dtype


def _clustering(name: str) -> Prepare:
    def prepare(parts: FullSizeParts, _count: int) -> Run:
        preset, device = parts.preset, parts.models.device
        width, cells = feature_shape(preset, name, "support")
        rows = torch.randn(min(preset.generation.images * cells * cells, 131_072), width, device=device).half().cpu()
        settings = preset.prototypes
        moves = min(settings.kmeans_iterations, _MOVES)
        return lambda: k_means(rows, settings.parts, seed=settings.kmeans_seed, iterations=moves, device=device)

    return prepare


def _matching(name: str) -> Prepare:
    def prepare(parts: FullSizeParts, count: int) -> Run:
        width, cells = feature_shape(parts.preset, name, "window")
        device = parts.models.device
        table = prototype_table(parts.preset, width, CATEGORIES, device)
        table.vectors.copy_(torch.nn.functional.normalize(torch.randn_like(table.vectors), dim=1))
        maps = torch.randn(count, width, cells, cells, device=device)  # where features are when they are matched
        return lambda: class_scores(maps, table, [BACKGROUND, *range(CATEGORIES)])

    return prepare


def _prompts(parts: FullSizeParts, _count: int) -> Run:
    settings, pipeline = parts.preset.generation, parts.models.diffusion(parts.preset.models.generator)
    return lambda: pipeline.encode_prompt(
        fill(settings.prompt_template, "cat"),
        pipeline.device,
        1,
        settings.guidance > 1,
        settings.negative_prompt,
    )


def _merging(working_hw: tuple[int, int]) -> Prepare:
    def prepare(parts: FullSizeParts, count: int) -> Run:
        device, windows = parts.models.device, plan_windows(working_hw, parts.preset.windows)[:count]
        scores = torch.rand(1, CATEGORIES + 1, 64, 64, device=device)

        def run() -> object:
            merger = ScoreMerger(CATEGORIES + 1, working_hw, device)
            for window in windows:
                merger.add(scores, [window])
            return merger.mean()

        return run

    return prepare


def _deciding(working_hw: tuple[int, int]) -> Prepare:
    def prepare(parts: FullSizeParts, _count: int) -> Run:
        scores = torch.rand(CATEGORIES + 1, *working_hw, device=parts.models.device)
        return lambda: decide(scores, list(range(CATEGORIES + 1)), _IMAGE_HW)

    return prepare


def _maskcut(parts: FullSizeParts, _count: int) -> Run:
    image, source = noise(1, (parts.preset.generation.size_px,) * 2)[0], parts.source
    return lambda: source.propose(image)  # type: ignore[union-attr]


def _resizing(preset: Preset) -> Run:
    image = noise(1, _IMAGE_HW)[0]
    return lambda: resize_to_working(image, preset.windows)


def _resizing_there(parts: FullSizeParts, _count: int) -> Run:
    """Copy an image to the device and resize it there, which a GPU does beside the models (`device_images`)."""
    image, device = noise(1, _IMAGE_HW)[0], parts.models.device
    size_hw = working_size_hw(_IMAGE_HW, parts.preset.windows)
    return lambda: resize_lanczos(to_device(image, device), size_hw)


def _run_lengths() -> None:
    """Encode five masks, as many things as a photograph has, of half an image each."""
    rows, columns = np.mgrid[: _IMAGE_HW[0], : _IMAGE_HW[1]]
    for number in range(5):
        mask_to_brush_rle((rows - 240) ** 2 + (columns - 64 * number) ** 2 < 160**2)
