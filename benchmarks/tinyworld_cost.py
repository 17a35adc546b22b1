"""What a category and an image cost on one thread, beside plain diffusers drawing the same images.

Command: ``python benchmarks/tinyworld_cost.py``. Medians of processor seconds over several categories and images, and
the peak memory. The peer is ``StableDiffusionPipeline`` alone, with the same scheduler, steps and number of images:
what a category costs beyond it is attribution, features and clustering.
"""

import argparse
import platform
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline

from ovdiff import Bank, Category, Engine, Vocabulary, load_preset
from ovdiff.building.generation.diffusion import make_scheduler
from ovdiff.tinyworld import weights_dir
from ovdiff.tinyworld.world import THINGS, render, sample_scene


def seconds(work: Callable[[], object]) -> float:
    """Return the processor seconds that a call takes."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main(write: Callable[[str], None] = print) -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    preset = load_preset("tinyworld")
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(preset, Bank(Path(folder)))
        vocabulary = Vocabulary(tuple(Category(name, kind="thing") for name in THINGS[: options.repeats]))
        warm_up = Category("tree", prompts=("green tree",))
        engine.build(warm_up)
        builds = [seconds(lambda c=category: engine.build(c)) for category in vocabulary.categories]  # type: ignore[misc]
        images = [render(sample_scene(index, "test", 3), 512).image for index in range(options.repeats + 1)]
        engine.segment(images[0], vocabulary)
        segments = [seconds(lambda i=image: engine.segment(i, vocabulary)) for image in images[1:]]  # type: ignore[misc]
        again = [seconds(lambda i=image: engine.segment(i, vocabulary)) for image in images[1:]]  # type: ignore[misc]
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6

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
    draws = [seconds(lambda n=name: draw(n)) for name in THINGS[: options.repeats]]  # type: ignore[misc]
    build, drawn = statistics.median(builds), statistics.median(draws)
    write(f"one thread, {platform.machine()}, torch {torch.__version__}\n")
    write("| work | processor seconds, median | ratio |\n| --- | --- | --- |")
    write(f"| a category, N = {settings.images}, {settings.steps} steps | {build:.2f} | {build / drawn:.2f} |")
    write(f"| diffusers alone, the same number of images | {drawn:.2f} | 1 |")
    write(f"| an image of 512 px, {len(vocabulary.categories)} categories | {statistics.median(segments):.3f} | |")
    write(f"| the same image again (features remembered) | {statistics.median(again):.3f} | |")
    write(f"\npeak memory of the process: {peak_gb:.2f} GB")


if __name__ == "__main__":
    main()
