"""The training set, which is rendered once into a folder of arrays, and then memory-mapped by every trainer.

Command: ``python -m ovdiff.tinyworld.training.data RUNS`` (28,000 scenes of 64 pixels). One half of the images show the
whole scene, the other half a viewport of it. So the models see things at twice their usual size too, as they will in
the windows that are cut out of an image and enlarged.
"""

import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovdiff.tinyworld.world import NAMES, THINGS, Box, render, sample_scene

SIZE_PX = 64
COUNT = 28_000
_VISIBLE_SHARE = 0.012


@dataclass(frozen=True)
class TrainingSet:
    """The images of scenes, their label maps, and the names that are visible in each.

    Attributes:
        images: (N, 64, 64, 3) uint8.
        label_maps: (N, 64, 64) uint8.
        things: for each scene, (name, colour) of its visible things.
        regions: for each scene, the names of its visible regions.
    """

    images: NDArray[np.uint8]
    label_maps: NDArray[np.uint8]
    things: list[list[tuple[str, str]]]
    regions: list[list[str]]

    def __len__(self) -> int:
        """Return the number of scenes."""
        return len(self.images)


def load_training_set(runs: Path) -> TrainingSet:
    """Open the training set that ``main`` wrote."""
    seen = json.loads((runs / "seen.json").read_text())
    return TrainingSet(
        np.load(runs / "images.npy", mmap_mode="r"),
        np.load(runs / "label_maps.npy", mmap_mode="r"),
        [[(name, colour) for name, colour in row] for row in seen["things"]],
        seen["regions"],
    )


def viewport(rng: np.random.Generator, whole: float = 0.5) -> Box:
    """Choose the part of a scene that an image shows; the share ``whole`` of images shows all of it."""
    if rng.random() < whole:
        return 0, 0, 1, 1
    side = rng.uniform(0.45, 0.95)
    width, height = np.clip(side * rng.uniform(0.85, 1.18, 2), 0.4, 1)
    x, y = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
    return float(x), float(y), float(x + width), float(y + height)


def _render_one(
    index: int, things: int | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], list[tuple[str, str]], list[str]]:
    rng = np.random.default_rng([7, index])
    scene = sample_scene(index, "train", things)
    rendering = render(scene, SIZE_PX, viewport(rng))
    visible = rendering.visible(_VISIBLE_SHARE)
    seen = [(thing.name, thing.colour) for thing in scene.things if thing.name in visible]
    regions = [name for name in visible if name not in THINGS]
    return rendering.image, rendering.label_map, seen, regions


def main(runs: Path, count: int = COUNT, *, things: int | None = None, first: int = 0, processes: int = 2) -> None:
    """Render ``count`` scenes into ``runs``, from scene ``first`` on; ``things`` says how many things each has."""
    runs.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes) as pool:
        rows = list(pool.map(partial(_render_one, things=things), range(first, first + count), chunksize=200))
    images, label_maps, seen_things, regions = zip(*rows, strict=True)
    np.save(runs / "images.npy", np.stack(images))
    np.save(runs / "label_maps.npy", np.stack(label_maps))
    (runs / "seen.json").write_text(json.dumps({"names": NAMES, "things": seen_things, "regions": regions}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
