"""Look at what the diffusion model draws: ``python -m benchmarks.tinyworld_sheet OUT.png [PHRASE...]``.

One row a phrase, of support images as the preset makes them, their attribution in red and the foreground outlined
in white. To be looked at before weights are frozen.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.ndimage import binary_dilation

from ovdiff.bank.support import SupportImage
from ovdiff.building.parts import BuildingParts
from ovdiff.building.steps import make_support_set
from ovdiff.models.loaded import LoadedModels
from ovdiff.presets import load_preset
from ovdiff.tinyworld.world import STUFF, THINGS

_ENLARGED = 2


def tile(item: SupportImage) -> Image.Image:
    """Return the image beside itself with attribution and foreground shown."""
    size = (item.image.shape[1] * _ENLARGED, item.image.shape[0] * _ENLARGED)
    marked = item.image.astype(np.float32) * (0.35 + 0.65 * item.attribution[..., None])
    marked[..., 0] = np.maximum(marked[..., 0], 150 * item.attribution)
    marked[binary_dilation(item.foreground) & ~item.foreground] = 255
    both = np.concatenate([item.image, marked.astype(np.uint8)], axis=0)
    return Image.fromarray(both).resize((size[0], 2 * size[1]), Image.Resampling.NEAREST)


def main(out: Path, phrases: list[str]) -> None:
    """Write the sheet."""
    torch.set_num_threads(1)
    parts = BuildingParts(load_preset("tinyworld"), LoadedModels("cpu"))
    rows = []
    for phrase in phrases:
        tiles = [tile(item) for item in make_support_set(parts, [phrase], lambda _stage, _done: None).images]
        row = Image.new("RGB", (sum(t.width for t in tiles), tiles[0].height))
        for i, picture in enumerate(tiles):
            row.paste(picture, (i * picture.width, 0))
        rows.append(row)
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)))
    for i, row in enumerate(rows):
        sheet.paste(row, (0, i * row.height))
    sheet.save(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or [*THINGS, *STUFF])
