"""Views of annotated images: the whole image first, then crops and shrunken images (large-scale jitter, C.4).

    frame: a rectangle in the image's px, which may reach beyond the image ──> square canvas ──> windows
                                                                          └──> segments on a grid of mask_px

A view depends on the seed, the image's number and the view's number alone, so it can be made again at any time.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from ovdiff.odise.encoding import WindowGrid, cut
from ovdiff.odise.preset import OdisePreset, TapSettings
from ovdiff.odise.training.examples import Example, fitted_segments, with_nameless
from ovdiff.odise.training.feature_store import View

_PADDING = 128
"""The grey beyond an image's edges."""


class Examples(Protocol):
    """Annotated images by number. An image may be read when it is asked for."""

    def __len__(self) -> int:
        """Return how many there are."""
        ...

    def __getitem__(self, number: int, /) -> Example:
        """Return an example, always the same."""
        ...


class Frame(NamedTuple):
    """A rectangle in an image, in px of the image; it may reach beyond the image."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Views:
    """The views of all examples: those of an image follow one another, its whole view first."""

    examples: Examples
    preset: OdisePreset

    def __len__(self) -> int:
        """Return the number of views."""
        return len(self.examples) * self.preset.training.views

    def __call__(self, number: int) -> View:
        """Make a view.

        Raises:
            OVDiffError: the image cannot be read.
        """
        plan = self.preset.training
        image, view = divmod(number, plan.views)
        example = self.examples[image]
        if self.preset.loss.void == "nameless" and not example.partial:
            example = with_nameless(example, self.preset.loss.nameless_area)
        rng = np.random.default_rng([plan.seed, image, view])
        size_hw = (example.image.shape[0], example.image.shape[1])
        scale = float(rng.uniform(*plan.scale)) if view else 1.0
        frame = frame_of(size_hw, scale, (rng.random(), rng.random()), square=self.preset.taps.windows == "sliding")
        canvas = on_canvas(example.image, frame, canvas_px(self.preset.taps))
        if view and plan.colour:
            canvas = jittered(canvas, plan.colour, rng)
        segments, names = fitted_segments(_segments_in(example, frame, plan.mask_px), example.names, plan.mask_px)
        windows = cut(canvas, self.preset.taps)[0]
        return View(windows, segments, names, list(example.captions), image, example.partial)


def canvas_px(settings: TapSettings) -> int:
    """Return the side of a view in px: of several windows where windows slide (C.4), else of one."""
    return settings.short_side_px if settings.windows == "sliding" else settings.input_px


def view_grid(settings: TapSettings) -> WindowGrid:
    """Return how every view is cut into windows."""
    side = canvas_px(settings)
    return cut(np.zeros((side, side, 3), dtype=np.uint8), settings)[1]


def frame_of(size_hw: tuple[int, int], scale: float, place: tuple[float, float], *, square: bool) -> Frame:
    """Return the frame that shows an image at a scale: above 1 it is a crop, below 1 the image is padded.

    Args:
        size_hw: the image's size in px.
        scale: how large the image is beside the view.
        place: where the frame is, from left and top, each in [0, 1].
        square: whether the image keeps its aspect; else it is stretched, as when it is segmented.
    """
    height, width = size_hw
    frame_hw = (max(size_hw) / scale,) * 2 if square else (height / scale, width / scale)
    return Frame(place[0] * (width - frame_hw[1]), place[1] * (height - frame_hw[0]), frame_hw[1], frame_hw[0])


def on_canvas(image: NDArray[np.uint8], frame: Frame, side_px: int) -> NDArray[np.uint8]:
    """Return what a frame shows of an image (H, W, 3) uint8, (side_px, side_px, 3); beyond the image it is grey."""
    height, width = image.shape[:2]
    canvas = np.full((side_px, side_px, 3), _PADDING, dtype=np.uint8)
    columns = _shown(frame.left, frame.width, width, side_px)
    rows = _shown(frame.top, frame.height, height, side_px)
    box = (columns.first, rows.first, columns.last, rows.last)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    shown = Image.fromarray(image).resize(size, Image.Resampling.BICUBIC, box=box)
    canvas[rows.start : rows.stop, columns.start : columns.stop] = np.asarray(shown)
    return canvas


def jittered(image: NDArray[np.uint8], strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return an image (H, W, 3) uint8 with other brightness, contrast and saturation, each by up to ``strength``."""
    picture = Image.fromarray(image)
    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        picture = change(picture).enhance(1 + strength * float(rng.uniform(-1, 1)))
    return np.asarray(picture)


class _Shown(NamedTuple):
    """The part of an image's side that a frame shows, in px of the image, and its place on the canvas."""

    first: float
    last: float
    start: int
    stop: int


def _shown(begin: float, length: float, side: int, canvas_px: int) -> _Shown:
    first, last = max(0.0, begin), min(float(side), begin + length)
    start = min(round((first - begin) / length * canvas_px), canvas_px - 1)
    stop = min(max(round((last - begin) / length * canvas_px), start + 1), canvas_px)
    return _Shown(first, last, start, stop)


def _segments_in(example: Example, frame: Frame, side_px: int) -> NDArray[np.int32]:
    """Return the segment at the centre of each cell of a frame, (side_px, side_px); 0 beyond the image."""
    height, width = example.segment_map.shape
    centres = (np.arange(side_px) + 0.5) / side_px
    rows = np.floor(frame.top + centres * frame.height).astype(np.intp)
    columns = np.floor(frame.left + centres * frame.width).astype(np.intp)
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    found = example.segment_map[np.ix_(rows.clip(0, height - 1), columns.clip(0, width - 1))]
    return np.where(inside, found, 0).astype(np.int32)
