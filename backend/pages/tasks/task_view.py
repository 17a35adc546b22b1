"""What a task's page shows of an image: the regions that a prediction holds, and what its limits hide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backend.pages.served_pictures import ServedPictures, reduced
from backend.pages.tasks.layers import RGB, colours_of, hex_of, masks_layer
from backend.serving.looking import Sight
from backend.serving.predicting.limits import least_score, shown_score, within_limits
from backend.serving.vocabulary import Output
from backend.settings import OutputSettings
from ovdiff.segmentation import Segmentation

PICTURE_PX = 1440
"""The longer side of the picture: sharp on a screen of fine pixels."""

BOXES = (("wide", 600, 620), ("narrow", 320, 480), ("tiny", 240, 400))
"""The sizes in which the image is shown, in CSS px at most. A press tells the place in these pixels, and not which
size they are of; so each size is an input of its own whose name tells the size."""

MOST_ROWS = 60


@dataclass(frozen=True)
class Region:
    """A row of the legend.

    Attributes:
        label: the label.
        colour: "#rrggbb".
        score: in [0, 1].
        share: of the image's pixels.
        hidden: why a prediction does not hold it; "" if it does.
    """

    label: str
    colour: str
    score: float
    share: float
    hidden: str = ""


@dataclass(frozen=True)
class Size:
    """A size in which the image is shown, in CSS px; `name` is its class in the style sheet."""

    name: str
    width: int
    height: int


@dataclass(frozen=True)
class TaskView:
    """What is shown of an image of a task.

    Attributes:
        image_wh: its width and height in px.
        photograph, masks: the names of the pictures.
        picture_wh: the width and height of the pictures in px.
        sizes: the sizes in which it is shown.
        regions: what was found, the largest first.
        more: how many regions are not listed.
        absent: the labels of which nothing was found.
        notes: what else a person should know, such as labels that are not ready.
        score: that of the whole image.
    """

    image_wh: tuple[int, int]
    photograph: str
    masks: str
    picture_wh: tuple[int, int]
    sizes: tuple[Size, ...]
    regions: tuple[Region, ...]
    more: int
    absent: tuple[str, ...]
    notes: tuple[str, ...]
    score: float


def task_view(sight: Sight, settings: OutputSettings, pictures: ServedPictures) -> TaskView:
    """Draw an image of a task with its masks, and list them."""
    colours = colours_of(sight.outputs)
    photograph = reduced(sight.pixels, PICTURE_PX)
    found, limited = within_limits(sight.segmentation, sight.outputs)
    numbers, regions = _regions(found, sight.outputs, colours, settings)
    tints = [colours[index] for index, _ in regions]
    rows = [row for _, row in regions]
    rows.sort(key=lambda row: (bool(row.hidden), -row.share))
    seen = {row.label for row in rows}
    height, width = sight.pixels.shape[:2]
    return TaskView(
        image_wh=(width, height),
        photograph=pictures.add(photograph, is_photograph=True),
        masks=pictures.add(masks_layer(numbers, tints, photograph.size)),
        picture_wh=photograph.size,
        sizes=sizes_of(width, height),
        regions=tuple(rows[:MOST_ROWS]),
        more=max(0, len(rows) - MOST_ROWS),
        absent=tuple(output.label for output in sight.outputs if output.label not in seen),
        notes=(*_notes(sight), *(f"Not shown, of {each}." for each in limited)),
        score=shown_score(found.image_score()),
    )


def sizes_of(width: int, height: int) -> tuple[Size, ...]:
    """Return the sizes in which an image is shown: as large as each box allows."""
    found = []
    for name, most_width, most_height in BOXES:
        scale = min(most_width / width, most_height / height)
        found.append(Size(name, max(1, round(width * scale)), max(1, round(height * scale))))
    return tuple(found)


def _regions(
    found: Segmentation, outputs: Sequence[Output], colours: Sequence[RGB], settings: OutputSettings
) -> tuple[NDArray[np.int32], list[tuple[int, Region]]]:
    """Return each pixel's region by number (H, W), 0 where none is shown; and the regions, with their label's index."""
    numbers = np.zeros(found.label_map.shape, dtype=np.int32)
    regions: list[tuple[int, Region]] = []
    for each in found.objects():
        output, score = outputs[each.index], shown_score(each.score)
        least, by = least_score(output, settings)
        hidden = f"its score is below {by}={least:g}" if score < least else ""
        share = float(each.mask.mean())
        regions.append((each.index, Region(output.label, hex_of(colours[each.index]), score, share, hidden)))
        if not hidden:
            numbers[each.mask] = len(regions)
    return numbers, regions


def _notes(sight: Sight) -> tuple[str, ...]:
    missing = sight.snapshot.missing
    return (f"Not looked for, because not ready: {missing}.",) if missing else ()
