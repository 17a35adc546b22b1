"""What a category and an image cost on one thread, beside plain diffusers drawing the same images.

    python -m benchmarks.tinyworld_cost --out benchmarks/results/tinyworld_cost.json

Medians of processor seconds over several categories and images, and the peak memory, in two minutes. Seconds differ
between machines, so the ratios alone are kept. A category's peer is ``StableDiffusionPipeline`` alone, with the same
scheduler, steps and number of images: what a category costs beyond it is attribution, features and clustering. An
image's peer is the published method, with the prefilter and without anchors and part check.
"""

import argparse
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import StableDiffusionPipeline

from benchmarks.drawn_world import PUBLISHED, vary
from benchmarks.spreads import markdown_table, write_results
from ovdiff import Bank, Category, Engine, Preset, Vocabulary, load_preset
from ovdiff.building.generation.diffusion import make_scheduler
from ovdiff.tinyworld import weights_dir
from ovdiff.tinyworld.world import THINGS, render, sample_scene


def seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds that a call takes."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


class Medians(NamedTuple):
    """Median processor seconds: of one category and one image, and of what each is compared with."""

    category: float
    drawing: float
    image: float
    published: float
    again: float


def measure(preset: Preset, repeats: int) -> Medians:
    """Build categories, draw the same images with diffusers alone, and segment images with the preset and as published.

    The two ways to segment take turns, so that other work on the machine slows both.
    """
    vocabulary = Vocabulary(tuple(Category(name, kind="thing") for name in THINGS[:repeats]))
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(preset, Bank(Path(folder)))
        engine.build(Category("tree", prompts=("green tree",)))  # loads the models
        builds = [seconds(partial(engine.build, category)) for category in vocabulary.categories]
        for anchor in preset.anchors.prototypes:
            engine.build(anchor)
        published = Engine(vary(preset, **PUBLISHED), engine.bank)
        first, *others = [render(sample_scene(index, "test", 3), 512).image for index in range(repeats + 1)]
        for asked in (engine, published):
            asked.segment(first, vocabulary)
        found = [
            [seconds(partial(asked.segment, image, vocabulary)) for asked in (engine, published, engine)]
            for image in others
        ]
    image, as_published, again = (statistics.median(times) for times in zip(*found, strict=True))
    return Medians(statistics.median(builds), draw_seconds(preset, repeats), image, as_published, again)


def draw_seconds(preset: Preset, repeats: int) -> float:
    """Return the median processor seconds in which diffusers alone draws a category's images."""
    settings = preset.generation
    plain = StableDiffusionPipeline.from_pretrained(
        weights_dir() / "stable_diffusion", torch_dtype=getattr(torch, preset.models.generator.dtype)
    )
    plain.scheduler = make_scheduler(settings, plain.scheduler.config)
    plain.set_progress_bar_config(disable=True)

    def draw(name: str) -> object:
        return plain(
            [f"a good photo of a {name}"] * settings.images,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance,
            height=settings.size_px,
            width=settings.size_px,
        )

    draw("tree")
    return statistics.median(seconds(partial(draw, name)) for name in THINGS[:repeats])


def main(write: Callable[[str], None] = print) -> None:
    """Measure, print a Markdown table, and write the ratios as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    preset = load_preset("tinyworld")
    took = measure(preset, options.repeats)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    ratios = {"a category": took.category / took.drawing, "an image": took.image / took.published}
    of_images = f"N = {preset.generation.images}, {preset.generation.steps} steps"
    lines = [
        (f"a category, {of_images}", took.category, ratios["a category"]),
        ("diffusers alone, the same number of images", took.drawing, 1.0),
        (f"an image of 512 px, {options.repeats} categories", took.image, ratios["an image"]),
        ("the same as published, without anchors and part check", took.published, 1.0),
        ("the same image again (features remembered)", took.again, took.again / took.published),
    ]
    rows = [[what, f"{cost:.3f}", f"{ratio:.2f}"] for what, cost, ratio in lines]
    write(f"one thread, {platform.machine()}, torch {torch.__version__}, peak memory {peak_gb:.2f} GB\n")
    write(markdown_table(("work", "processor seconds, median", "ratio"), rows))
    if options.out:
        write_results(options.out, {"repeats": options.repeats, "ratios": ratios})


if __name__ == "__main__":
    main()
