"""A broken input: its files, the command that is given them, and how that has to end."""

import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from converters.encodings.brush import mask_to_brush_rle

WIDTH, HEIGHT = 36, 24
CONFIG_XML = (
    '<View><Image name="image" value="$image"/>'
    '<BrushLabels name="brush" toName="image"><Label value="cat"/><Label value="sky" kind="stuff"/></BrushLabels>'
    '<BitmaskLabels name="bitmask" toName="image"><Label value="cat"/></BitmaskLabels>'
    '<PolygonLabels name="polygon" toName="image"><Label value="cat"/></PolygonLabels>'
    '<RectangleLabels name="box" toName="image"><Label value="cat"/></RectangleLabels>'
    '<EllipseLabels name="oval" toName="image"><Label value="cat"/></EllipseLabels></View>'
)
MASK = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
MASK[4:12, 6:20] = True

DONE, FAILED, LEFT_BEHIND = 0, 1, 3
ANY = (DONE, FAILED, LEFT_BEHIND)


@dataclass(frozen=True)
class Case:
    """One broken input.

    Attributes:
        name: unique, says what is broken.
        files: what is in the folder when the command starts.
        command: its words; paths are relative to the folder.
        statuses: exit statuses that are right.
        message: part of what it has to say; "" if anything clear will do.
    """

    name: str
    files: dict[str, bytes]
    command: str
    statuses: tuple[int, ...] = ANY
    message: str = ""
    folders: tuple[str, ...] = field(default=())


CONVERT = "convert {kind} export.json --label-config config.xml --out out"
VALIDATE = "validate export.json --label-config config.xml"


def text(value: Any) -> bytes:
    """Return a value as JSON; NaN and infinity as Python writes them."""
    return json.dumps(value).encode()


def region(kind: str = "brushlabels", value: Any = None, **more: Any) -> dict[str, Any]:
    """Return a good region, or one with other keys."""
    names = {"brushlabels": "brush", "bitmasklabels": "bitmask", "polygonlabels": "polygon"}
    names |= {"rectanglelabels": "box", "ellipselabels": "oval"}
    value = {"format": "rle", "rle": mask_to_brush_rle(MASK)} if value is None else value
    return {
        "id": "bad",
        "from_name": names[kind],
        "to_name": "image",
        "type": kind,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "value": {kind: ["cat"], **value} if isinstance(value, dict) else value,
        **more,
    }


def task(*results: Any, **more: Any) -> dict[str, Any]:
    """Return a task with an annotation."""
    return {"id": 1, "data": {"image": "/a.png"}, "annotations": [{"id": 1, "result": list(results)}], **more}


GOOD_TASK = task(region(id="good"), id=2, data={"image": "/b.png"})
