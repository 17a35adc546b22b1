"""`ovdiff explain`: why a place of an image has its label, as text, as JSON and as a picture."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.command.console import say
from backend.command.explanation_text import explanation_text
from backend.command.files import check_png_path, write_png
from backend.command.prototypes import build_missing, say_aside, say_missing_anchors
from backend.command.refusals import cannot
from backend.errors import ImageSourceError, RequestError
from backend.presentation.explanation_picture import draw_explanation
from backend.sources.images import decode_image
from converters.console import answer
from ovdiff.engines import SegmentationEngine
from ovdiff.engines.encodings import Explains
from ovdiff.errors import ImageError
from ovdiff.explaining.mapping import explanation_to_mapping
from ovdiff.explaining.places import place_mask
from ovdiff.images import read_mask
from ovdiff.vocabulary import Vocabulary


@dataclass(frozen=True)
class Question:
    """What is asked.

    Attributes:
        image: the image's file.
        where: a pixel (x, y), or the file of a mask.
        vocabulary: the categories.
    """

    image: Path
    where: tuple[int, int] | Path
    vocabulary: Vocabulary

    @property
    def place(self) -> str:
        """The place in words."""
        return f"in {self.where}" if isinstance(self.where, Path) else f"at {self.where[0]},{self.where[1]}"


def explain_image(asked: Question, engine: SegmentationEngine, *, max_px: int, out: Path | None = None) -> None:
    """Print why a place has its label, and write a picture of it if that is wanted.

    Args:
        asked: the image, the place and the categories; prototypes that the bank lacks are made first.
        engine: the method.
        max_px: an image with more pixels is refused.
        out: the PNG file to write.

    Raises:
        UsageError: the engine cannot explain, or `out` is not the name of a PNG file.
        RequestError: the image or the mask cannot be read, the place is not in the image, or the picture cannot be
            written.
        OVDiffError: prototypes cannot be made or read, or a model cannot be loaded.
    """
    if not isinstance(engine, Explains):
        raise cannot(engine, "cannot say why a place has its label")
    check_png_path("--out", out)
    image, where = _read(asked, max_px)
    build_missing(asked.vocabulary.categories, engine)
    say_missing_anchors(engine)
    say_aside(asked.vocabulary, engine)
    try:
        found = engine.explain(engine.encode(image), asked.vocabulary, where)
    except ImageError as error:
        raise RequestError(f"{asked.image}: {error}") from error
    if out is not None:
        write_png(draw_explanation(image, found, f"{asked.image.name} {asked.place}"), out)
    answer({"image": asked.image, **explanation_to_mapping(found)})
    say(f"{asked.image} {asked.place}: {found.label}\n\n{explanation_text(found)}")
    if out is not None:
        say(f"\npicture: {out}")


def _read(asked: Question, max_px: int) -> tuple[NDArray[np.uint8], tuple[int, int] | NDArray[np.bool_]]:
    """Read the image and the place; both are checked before any prototype is made."""
    try:
        image = decode_image(asked.image.read_bytes(), max_px=max_px)
    except OSError as error:
        raise RequestError(f"{asked.image}: it cannot be read: {error.strerror or error}.") from error
    except ImageSourceError as error:
        raise RequestError(f"{asked.image}: {error}") from error
    where = asked.where
    try:
        place = where if isinstance(where, tuple) else read_mask(where)
    except ImageError as error:
        raise RequestError(f"--region {where}: {error}") from error
    try:
        place_mask(place, (image.shape[0], image.shape[1]))
    except ImageError as error:
        raise RequestError(f"{asked.image}: {error}") from error
    return image, place
