"""What stands for photographs: drawn scenes with noise, whose JPEGs take as long to decode."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovdiff.tinyworld.world import render, sample_scene

IMAGE_HW = (480, 640)


def photograph(seed: int, *, tiny: bool = False) -> NDArray[np.uint8]:
    """Return an image (480, 640, 3) uint8, or (96, 128, 3) where all is tiny."""
    height, width = (96, 128) if tiny else IMAGE_HW
    drawn = Image.fromarray(render(sample_scene(seed, "test", 3), 256).image).resize((width, height))
    noise = np.random.default_rng(seed).integers(-12, 12, (height, width, 3))
    return np.clip(np.asarray(drawn, dtype=np.int16) + noise, 0, 255).astype(np.uint8)
