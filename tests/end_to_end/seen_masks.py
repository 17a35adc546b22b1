"""The labelled image in a screenshot of Label Studio's editor, and how much of a label's colour lies over it."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from selenium import webdriver

from tests.end_to_end.editor import LEAST_WIDTH_PX, largest_image_box

OPACITY = 0.5  # about that of a brush region in Label Studio

Shown = NDArray[np.float64]
"""RGB, (H, W, 3), 0 to 255."""


def shown_image(browser: webdriver.Chrome, size_wh: tuple[int, int]) -> Shown | None:
    """Cut the labelled image out of a screenshot and scale it to its own size; None if it is not there yet."""
    x, y, width, height = largest_image_box(browser)
    if width < LEAST_WIDTH_PX:
        return None
    screenshot = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    shown = screenshot.crop((round(x), round(y), round(x + width), round(y + height)))
    return np.asarray(shown.resize(size_wh), dtype=np.float64)


def under_label(image: NDArray[np.uint8], opacity: Shown, colour_rgb: Shown) -> Shown:
    """Return what an image looks like under a label's colour: (1 - opacity) * image + opacity * colour."""
    return np.asarray(image + opacity[..., None] * (colour_rgb - image), dtype=np.float64)


def label_opacity(shown: Shown, image: NDArray[np.uint8], colour_rgb: Shown) -> Shown:
    """Return how opaquely a label's colour lies over each pixel, (H, W), 0 to 1: `under_label` solved for it."""
    towards_label = colour_rgb - image
    change = ((shown - image) * towards_label).sum(axis=-1)
    return np.clip(change / (towards_label**2).sum(axis=-1), 0, 1)


def seen_labels(shown: Shown, image: NDArray[np.uint8], colours_rgb: Shown) -> NDArray[np.int64]:
    """Return which label a person sees at each pixel, (H, W): 0 for none, else 1 + the index of its colour.

    A pixel shows the label under whose colour the image would look most like it.
    """
    opacity = np.full(image.shape[:2], OPACITY)
    under = [image.astype(np.float64), *(under_label(image, opacity, colour) for colour in colours_rgb)]
    return np.argmin([np.abs(shown - each).sum(axis=-1) for each in under], axis=0)
