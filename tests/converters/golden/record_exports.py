"""Record what a real Label Studio exports, for test_golden.py.

    python tests/converters/golden/record_exports.py http://127.0.0.1:8080 LEGACY_TOKEN

Makes a project with every control tag that marks areas, labels two images through the API (regions of each
kind, a prediction and its correction, a second annotation, a skipped task, a turned view), exports it in every
JSON form, deletes the project, and writes the files beside this script. Takes a few seconds. The recorded ones
come from Label Studio 1.23.2. `masks.json` holds what was drawn, by region id, as pycocotools' RLE.
"""

import argparse
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image

from converters.encodings.bitmask import mask_to_data_url
from converters.encodings.brush import alpha_to_brush_rle, mask_to_brush_rle
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.polygons import polygons_to_mask

FOLDER = Path(__file__).parent
HEIGHT, WIDTH = 48, 64
CONFIG = """<View>
  <Image name="image" value="$image" rotateControl="true"/>
  <BrushLabels name="brush" toName="image">
    <Label value="red disc"/><Label value="blue square" alias="sq"/>
  </BrushLabels>
  <BitmaskLabels name="bitmask" toName="image"><Label value="red disc"/></BitmaskLabels>
  <PolygonLabels name="polygon" toName="image"><Label value="green thing" category="9"/></PolygonLabels>
  <RectangleLabels name="rectangle" toName="image"><Label value="green thing"/></RectangleLabels>
  <EllipseLabels name="ellipse" toName="image"><Label value="red disc"/></EllipseLabels>
  <KeyPointLabels name="keypoint" toName="image"><Label value="red disc"/></KeyPointLabels>
  <Choices name="quality" toName="image"><Choice value="good"/><Choice value="bad"/></Choices>
</View>
"""


def shapes() -> dict[str, np.ndarray]:
    """Return what is drawn, by region id: (H, W) bool."""
    rows, columns = np.indices((HEIGHT, WIDTH)) + 0.5
    ring = np.abs(np.hypot(rows - 24, columns - 30) - 14) < 5
    square = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    square[4:16, 40:60] = True
    square[30:44, 40:60] = True
    return {
        "ring": ring,
        "square": square,
        "stroke": np.hypot(rows - 10, columns - 10) < 6,
        "bits": ring & (rows > 20),
        "poly": polygons_to_mask([[(16, 12), (48, 12), (32, 40)]], (HEIGHT, WIDTH)),
        "box": polygons_to_mask([[(32, 12), (32, 36), (20, 36), (20, 12)]], (HEIGHT, WIDTH)),
        "oval": ((rows - 24) / 12) ** 2 + ((columns - 32) / 16) ** 2 < 1,
    }


def result(region_id: str, control: str, value: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return one region as the editor would save it."""
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    kind = f"{control}labels"
    return {
        "id": region_id, "from_name": control, "to_name": "image", "type": kind, **size, "value": value, **more,
    }  # fmt: skip


def brush(region_id: str, rle: list[int], word: str, **more: Any) -> dict[str, Any]:
    """Return a brush region."""
    return result(region_id, "brush", {"format": "rle", "rle": rle, "brushlabels": [word]}, **more)


def regions() -> list[dict[str, Any]]:
    """Return a region of every kind, and a choice."""
    drawn = shapes()
    soft = np.where(drawn["stroke"], 128, 127).astype(np.uint8)  # as soft as an edge can be
    box = {"x": 50, "y": 25, "width": 37.5, "height": 25, "rotation": 90, "rectanglelabels": ["green thing"]}
    oval = {"x": 50, "y": 50, "radiusX": 25, "radiusY": 25, "rotation": 0, "ellipselabels": ["red disc"]}
    points = [[25, 25], [75, 25], [50, 40 / 48 * 100]]
    choice = {"id": "choice", "from_name": "quality", "to_name": "image", "type": "choices"}
    return [
        brush("ring", mask_to_brush_rle(drawn["ring"]), "red disc", origin="manual"),
        brush("square", mask_to_brush_rle(drawn["square"]), "sq", image_rotation=90, origin="manual"),
        brush("stroke", alpha_to_brush_rle(soft), "red disc", origin="prediction-changed", score=0.75),
        result(
            "bits",
            "bitmask",
            {"imageDataURL": mask_to_data_url(drawn["bits"]), "bitmasklabels": ["red disc"]},
        ),
        result("poly", "polygon", {"points": points, "closed": True, "polygonlabels": ["green thing"]}),
        result("box", "rectangle", box),
        result("oval", "ellipse", oval),
        result("dot", "keypoint", {"x": 50, "y": 50, "width": 1, "keypointlabels": ["red disc"]}),
        {**choice, "value": {"choices": ["good"]}},
    ]


class Api:
    """The few calls that the recording needs."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Token {token}"}

    def call(self, method: str, path: str, **body: Any) -> Any:
        response = requests.request(method, self._url + path, headers=self._headers, timeout=60, **body)
        response.raise_for_status()
        return response.json() if response.content else None


def upload(api: Api, project: int) -> list[int]:
    """Upload three images and return their tasks' ids."""
    for number in range(3):
        target = io.BytesIO()
        Image.new("RGB", (WIDTH, HEIGHT), (80 * number, 120, 90)).save(target, format="PNG")
        files = {f"img{number}.png": (f"img{number}.png", target.getvalue(), "image/png")}
        api.call("POST", f"/api/projects/{project}/import", files=files)
    tasks = api.call("GET", f"/api/tasks?project={project}&fields=all")["tasks"]
    return sorted(task["id"] for task in tasks)


def label(api: Api, tasks: list[int]) -> None:
    """Label the first task with everything, skip the second, correct nothing in the third."""
    stroke = brush("stroke", mask_to_brush_rle(shapes()["stroke"]), "red disc", score=0.75)
    prediction = api.call(
        "POST",
        "/api/predictions/",
        json={"task": tasks[0], "result": [stroke], "score": 0.6, "model_version": "recorded-v1"},
    )
    first = {"result": regions(), "parent_prediction": prediction["id"], "lead_time": 12.5}
    api.call("POST", f"/api/tasks/{tasks[0]}/annotations/", json=first)
    api.call("POST", f"/api/tasks/{tasks[0]}/annotations/", json={"result": regions()[:1], "ground_truth": True})
    api.call("POST", f"/api/tasks/{tasks[1]}/annotations/", json={"result": [], "was_cancelled": True})
    api.call("POST", f"/api/tasks/{tasks[2]}/annotations/", json={"result": []})


def main() -> None:
    """Record all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("token")
    options = parser.parse_args()
    api = Api(options.url, options.token)
    project = api.call("POST", "/api/projects", json={"title": "recorded", "label_config": CONFIG})["id"]
    try:
        label(api, upload(api, project))
        export = f"/api/projects/{project}/export?download_all_tasks=true&exportType="
        recorded = {
            "export_json": api.call("GET", export + "JSON"),
            "export_json_min": api.call("GET", export + "JSON_MIN"),
            "api_tasks": api.call("GET", f"/api/tasks?project={project}&fields=all")["tasks"],
            "masks": {region_id: mask_to_coco_rle(mask) for region_id, mask in shapes().items()},
        }
    finally:
        api.call("DELETE", f"/api/projects/{project}")
    (FOLDER / "label_config.xml").write_text(CONFIG, encoding="utf-8")
    for name, content in recorded.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
