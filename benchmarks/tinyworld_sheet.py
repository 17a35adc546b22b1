"""Look at what the diffusion model draws: ``python -m benchmarks.tinyworld_sheet OUT.png [PHRASE...]``.

One row a phrase, of support images as the preset makes them; below each image its attribution as brightness, and the
foreground outlined in white. ``docs/tinyworld-support.png`` is its picture of the things. To be looked at before
weights are committed. Cost: two seconds of processor time a phrase.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import binary_dilation

from benchmarks.drawn_world import vary
from ovdiff.bank.support import SupportImage
from ovdiff.building.parts import BuildingParts
from ovdiff.building.steps import make_support_set
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import load_preset
from ovdiff.tinyworld.world import THINGS

_ENLARGED = 2


def tile(item: SupportImage) -> Image.Image:
    """Return the image beside itself with attribution and foreground shown."""
    size = (item.image.shape[1] * _ENLARGED, item.image.shape[0] * _ENLARGED)
    marked = item.image.astype(np.float32) * (0.35 + 0.65 * item.attribution[..., None])
    marked[..., 0] = np.maximum(marked[..., 0], 150 * item.attribution)
    marked[binary_dilation(item.foreground) & ~item.foreground] = 255
    both = np.concatenate([item.image, marked.astype(np.uint8)], axis=0)
    return Image.fromarray(both).resize((size[0], 2 * size[1]), Image.Resampling.NEAREST)


def strip(parts: BuildingParts, phrase: str, images: int) -> Image.Image:
    """Return the first support images of a phrase beside each other."""
    support = make_support_set(parts, [phrase], lambda _stage, _done: None)
    return beside([tile(item) for item in support.images[:images]])


def beside(pictures: Sequence[Image.Image], gap_px: int = 0) -> Image.Image:
    """Paste pictures of one height beside each other."""
    width = sum(picture.width + gap_px for picture in pictures) - gap_px
    row = Image.new("RGB", (width, pictures[0].height), "white")
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + gap_px
    return row


def below(pictures: Sequence[Image.Image]) -> Image.Image:
    """Paste pictures of one width below each other."""
    column = Image.new("RGB", (pictures[0].width, sum(picture.height for picture in pictures)))
    top = 0
    for picture in pictures:
        column.paste(picture, (0, top))
        top += picture.height
    return column


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("out", type=Path)
    parser.add_argument("phrases", nargs="*", help="the twelve things, unless some are given")
    parser.add_argument("--images", type=int, default=6, help="how many images of each phrase are shown")
    parser.add_argument("--columns", type=int, default=2)
    parser.add_argument("--preset", default="tinyworld")
    parser.add_argument("--generator", help="a folder with other weights of the generator")
    options = parser.parse_args()
    torch.set_num_threads(1)
    preset = load_preset(options.preset)
    if options.generator:
        preset = vary(preset, models={"generator": {"source": options.generator}})
    parts = BuildingParts(preset, LoadedModels("cpu"))
    strips = [strip(parts, phrase, options.images) for phrase in options.phrases or THINGS]
    height = -(-len(strips) // options.columns)
    columns = [below(strips[first : first + height]) for first in range(0, len(strips), height)]
    beside(columns, gap_px=10).save(options.out)


if __name__ == "__main__":
    main()
