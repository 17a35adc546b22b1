"""An export of annotated pictures for tests of `ovdiff learn` and `ovdiff lessons`."""

import json
from pathlib import Path
from typing import Any

from tests.fakes.pictures import encoded, red_and_blue

CONFIG = """<View>
  <Image name="image" value="$image"/>
  <PolygonLabels name="shape" toName="image"><Label value="red"/><Label value="blue"/></PolygonLabels>
  <Choices name="how" toName="image"><Choice value="partial"/></Choices>
</View>"""
RED, BLUE = (12.5, 25, 37.5, 75), (62.5, 25, 87.5, 75)  # left, top, right, bottom in percent of the picture


def region(label: str, box: tuple[float, ...], size: tuple[int, int] = (64, 48)) -> dict[str, Any]:
    left, top, right, bottom = box
    points = [[left, top], [right, top], [right, bottom], [left, bottom]]
    value = {"points": points, "closed": True, "polygonlabels": [label]}
    shape = {"from_name": "shape", "to_name": "image", "type": "polygonlabels", "value": value, "id": f"{label}{left}"}
    return {**shape, "original_width": size[0], "original_height": size[1]}


def annotation(number: int, *regions: dict[str, Any], **more: Any) -> dict[str, Any]:
    made = {"completed_by": {"email": "ann@example.org"}, "updated_at": f"2026-11-21T10:00:{number:02d}Z"}
    return {"id": number, "result": list(regions), **made, **more}


def task(number: int, *annotations: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": number,
        "project": 1,
        "data": {"image": f"/data/upload/1/{number}.png"},
        "annotations": list(annotations),
    }


def write_export(folder: Path, *tasks: dict[str, Any]) -> None:
    """Write export.json, config.xml and a picture of each task in the folder `images`; each picture is another one."""
    (folder / "export.json").write_text(json.dumps(list(tasks)))
    (folder / "config.xml").write_text(CONFIG)
    (folder / "images").mkdir(exist_ok=True)
    for each in tasks:
        picture = red_and_blue()
        picture[0, 0] = each["id"]
        (folder / "images" / f"{each['id']}.png").write_bytes(encoded(picture))


def both(number: int, **more: Any) -> dict[str, Any]:
    """Return the right annotation of a picture."""
    return annotation(number, region("red", RED), region("blue", BLUE), **more)
