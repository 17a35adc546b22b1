"""A photograph with a mask becomes an exemplar: a square of the support images' size around the object.

The square's side is 1.5 times the longer side of the object's box, as drawn objects have surroundings too. It is moved
into the image where it juts out, and made smaller where the image is smaller, but never smaller than the object. Where
it still juts out, border pixels are repeated; these are neither object nor surroundings. The picture is reduced by
area, and a pixel is the object's if the mask covers half of it. Never imports torch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ovdiff.curation.pictures import Pictures
from ovdiff.errors import ImageError

SURROUNDINGS = 1.5
"""The side of the square, in longer sides of the object's box."""

_OBJECT, _SURROUNDINGS = 255, 128  # grey levels of stored masks, as those of support images; 0 is neither


@dataclass(frozen=True)
class ExemplarImage:
    """An exemplar as it joins a support set.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        foreground: (S, S) bool, the object.
        surroundings: (S, S) bool, what is in the image and not the object; false where border pixels are repeated.
    """

    image: NDArray[np.uint8]
    foreground: NDArray[np.bool_]
    surroundings: NDArray[np.bool_]


def cut_exemplar(image: NDArray[np.uint8], mask: NDArray[np.bool_], size_px: int) -> ExemplarImage:
    """Cut the square around an object out of its image.

    Args:
        image: (H, W, 3) uint8 RGB, upright.
        mask: (H, W) bool, true where the object is.
        size_px: the side S of the result.

    Raises:
        ImageError: the mask is of another size than the image, has no object, or the object is too thin to be seen at
            that size.
    """
    if image.shape[:2] != mask.shape:
        sizes = f"{image.shape[1]} x {image.shape[0]} px and the mask {mask.shape[1]} x {mask.shape[0]} px"
        raise ImageError(f"The image has {sizes}. Draw the mask on this very image, turned upright.")
    if not mask.any():
        raise ImageError("The mask has no foreground: all its pixels are 0. Give the object's pixels another value.")
    square = _square(mask)
    pixels = _resized(_cut(image, square), size_px)
    foreground = _resized(_cut(mask.astype(np.uint8) * 255, square, repeat=False), size_px) >= 128
    inside = _resized(_cut(np.full(mask.shape, 255, np.uint8), square, repeat=False), size_px) >= 128
    if not foreground.any():
        raise ImageError(
            f"The object is too thin: at the {size_px} x {size_px} px of support images it covers no pixel by half. "
            "Mark a larger part of it."
        )
    return ExemplarImage(pixels, foreground, inside & ~foreground)


def exemplar_to_pictures(exemplar: ExemplarImage) -> Pictures:
    """Return an exemplar as it is stored; :func:`pictures_to_exemplar` reads it back."""
    levels = np.where(exemplar.foreground, _OBJECT, np.where(exemplar.surroundings, _SURROUNDINGS, 0))
    return {"image": exemplar.image, "mask": levels.astype(np.uint8)}


def pictures_to_exemplar(pictures: Pictures) -> ExemplarImage:
    """Return a stored exemplar.

    Raises:
        KeyError: there is no picture "image" or "mask".
    """
    levels = pictures["mask"]
    return ExemplarImage(pictures["image"], levels == _OBJECT, levels == _SURROUNDINGS)


def _square(mask: NDArray[np.bool_]) -> tuple[int, int, int]:
    """Return the top, the left and the side of the square around an object; it may jut out of the image."""
    starts, lengths = [], []
    for axis in (1, 0):
        found = np.flatnonzero(mask.any(axis=axis))
        starts.append(int(found[0]))
        lengths.append(int(found[-1]) - int(found[0]) + 1)
    longest = max(lengths)
    side = max(longest, min(round(SURROUNDINGS * longest), *mask.shape))
    placed = []
    for start, length, extent in zip(starts, lengths, mask.shape, strict=True):
        wanted = start + length // 2 - side // 2
        placed.append((extent - side) // 2 if side > extent else min(max(wanted, 0), extent - side))
    return placed[0], placed[1], side


def _cut(pixels: NDArray[np.uint8], square: tuple[int, int, int], *, repeat: bool = True) -> NDArray[np.uint8]:
    """Return the pixels of a square; outside the image the border is repeated, or is 0."""
    top, left, side = square
    rows, columns = np.arange(top, top + side), np.arange(left, left + side)
    height, width = pixels.shape[:2]
    cut = pixels[np.clip(rows, 0, height - 1)[:, None], np.clip(columns, 0, width - 1)[None, :]]
    if repeat:
        return cut
    outside = ((rows < 0) | (rows >= height))[:, None] | ((columns < 0) | (columns >= width))[None, :]
    return np.where(outside, 0, cut).astype(np.uint8)


def _resized(pixels: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    """Return a square picture at another size: reduced by area, enlarged by interpolation."""
    if pixels.shape[0] == size_px:
        return pixels
    how = Image.Resampling.BOX if pixels.shape[0] > size_px else Image.Resampling.BICUBIC
    return np.asarray(Image.fromarray(pixels).resize((size_px, size_px), how))
