"""Are support images pictures of what was asked for? Two judges name the thing in each, out of the twelve things.

Command: ``python -m benchmarks.tinyworld_support RUNS --out benchmarks/results/tinyworld_support.json``. The images are
judged as they were drawn, before any selection: eight a thing, from the preset's prompt and settings. The first judge
is the preset's own CLIP, the second one :mod:`benchmarks.support_judge`, which the first call trains in RUNS. What each
judge reaches on drawn scenes is reported beside what it says. ``--generator FOLDER`` looks at other weights of the
generator. Cost: half a minute of processor time a seed, and seven minutes once for the second judge.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.drawn_world import SEEDS, vary
from benchmarks.spreads import markdown_table, spread_text, write_results
from benchmarks.support_judge import accuracy, name_things, train_second_judge
from ovdiff import Preset, load_preset
from ovdiff.building.drawing import draw_images
from ovdiff.building.parts import BuildingParts
from ovdiff.models.loaded import LoadedModels
from ovdiff.segmenting.parts import SegmentingParts
from ovdiff.segmenting.prefilter import embed_image
from ovdiff.tinyworld.world import THINGS

PROMPT = "a photo of a {thing}"
Judge = Callable[[NDArray[np.uint8]], NDArray[np.int64]]
"""Names the thing in each image: (B, H, W, 3) uint8 to indices into THINGS, (B,)."""
Shares = dict[str, float]


def clip_judge(preset: Preset, models: LoadedModels) -> Judge:
    """Return the preset's CLIP as a judge: the thing whose caption is nearest to the whole image."""
    parts = SegmentingParts(preset, models)
    texts = [
        vector for vector in parts.texts.embed([PROMPT.format(thing=name) for name in THINGS]) if vector is not None
    ]
    names = torch.stack(texts).T

    def judge(images: NDArray[np.uint8]) -> NDArray[np.int64]:
        vectors = torch.stack([embed_image(parts.clip, image, preset.prefilter) for image in images])
        answers: NDArray[np.int64] = (vectors @ names).argmax(dim=1).numpy()
        return answers

    return judge


def draw(preset: Preset, models: LoadedModels, name: str) -> NDArray[np.uint8]:
    """Return the support images of a word as they are drawn, (B, H, W, 3) uint8."""
    batches = draw_images(BuildingParts(preset, models), [name], None, lambda _done: None)
    return np.stack([item.image for batch in batches for item in batch.images])


def right_shares(judge: Judge, images: dict[str, NDArray[np.uint8]]) -> Shares:
    """Return the share of images taken for the thing that was asked for: of each thing, and of all things (``all``)."""
    shares = {name: float((judge(drawn) == THINGS.index(name)).mean()) for name, drawn in images.items()}
    return {**shares, "all": float(np.mean(list(shares.values())))}


def table(by_judge: dict[str, list[Shares]]) -> str:
    """Return a Markdown table with a row for each thing, of the mean over seeds by each judge."""
    first = next(iter(by_judge.values()))
    rows = [[name, *(spread_text([s[name] for s in seeds]) for seeds in by_judge.values())] for name in first[0]]
    return markdown_table(("asked for", *by_judge), rows)


def lowest(by_seed: Sequence[Shares]) -> tuple[str, float]:
    """Return the thing that is recognised least, and its share over all seeds."""
    means = {name: float(np.mean([shares[name] for shares in by_seed])) for name in THINGS}
    worst = min(means, key=lambda name: means[name])
    return worst, means[worst]


def main(write: Callable[[str], None] = print) -> None:
    """Draw, ask both judges, print a table, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("runs", type=Path, help="the folder of the second judge's training")
    parser.add_argument("--preset", default="tinyworld")
    parser.add_argument("--generator", help="a folder with other weights of the generator")
    parser.add_argument("--seeds", type=int, nargs="+", default=SEEDS)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    preset, models = load_preset(options.preset), LoadedModels("cpu")
    if options.generator:
        preset = vary(preset, models={"generator": {"source": options.generator}})
    second = train_second_judge(options.runs)
    judges: dict[str, Judge] = {
        "CLIP": clip_judge(preset, models),
        "second judge": lambda images: name_things(second, images),
    }
    by_judge: dict[str, list[Shares]] = {name: [] for name in judges}
    for seed in options.seeds:
        seeded = vary(preset, generation={"seed": seed})
        images = {name: draw(seeded, models, name) for name in THINGS}
        for name, judge in judges.items():
            by_judge[name].append(right_shares(judge, images))
    on_scenes = {name: accuracy(judge) for name, judge in judges.items()}
    write(table(by_judge))
    for name, seeds in by_judge.items():
        worst, share = lowest(seeds)
        write(f"{name}: lowest {worst} {share:.3f}; right on drawn scenes of one thing {on_scenes[name]:.3f}")
    if options.out:
        write_results(options.out, {"seeds": options.seeds, "right_on_scenes": on_scenes, "shares": by_judge})


if __name__ == "__main__":
    main()
