"""Record what a real Label Studio exports after predictions were corrected, for test_golden_corrections.py.

    python tests/converters/golden/record_corrections.py http://127.0.0.1:8080 LEGACY_TOKEN

Makes a project of five images with predictions of two model versions, and through the API does to them what
people do in the page: accepts, changes, relabels, removes and adds regions, corrects one image twice, skips one,
labels one from nothing and leaves one alone. Writes `corrections_snapshot.json` (an export snapshot with its
predictions), `corrections_api.json` (tasks of the API), `corrections_button.json` (what the export button gives)
and `corrections_config.xml` beside this script. Takes a few seconds. The recorded ones come from Label Studio
1.23.2. What was done, box by box, is in `done`; the test's numbers follow from it by hand.
"""

import argparse
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from record_exports import Api

from converters.encodings.brush import mask_to_brush_rle

FOLDER = Path(__file__).parent
HEIGHT, WIDTH = 48, 64
CONFIG = """<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="brush" toName="image"><Label value="cat"/><Label value="dog"/></BrushLabels>
  <PolygonLabels name="polygon" toName="image"><Label value="tree"/></PolygonLabels>
</View>
"""

Box = tuple[int, int, int, int]
"""First row, first column, end row, end column, in pixels."""


def region(region_id: str, label: str, box: Box, **more: Any) -> dict[str, Any]:
    """Return a box as a brush stroke or, for a tree, as a polygon."""
    top, left, bottom, right = box
    if label == "tree":
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
        points = [[x / WIDTH * 100, y / HEIGHT * 100] for x, y in corners]
        control, value = "polygon", {"points": points, "closed": True, "polygonlabels": [label]}
    else:
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
        mask[top:bottom, left:right] = True
        control, value = "brush", {"format": "rle", "rle": mask_to_brush_rle(mask), "brushlabels": [label]}
    size = {"original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0}
    return {
        "id": region_id, "from_name": control, "to_name": "image", "type": f"{control}labels", **size,
        "value": value, **more,
    }  # fmt: skip


PREDICTED = {
    0: ("v1", [
        region("accepted", "cat", (4, 4, 14, 24), score=0.9),
        region("grown", "dog", (20, 4, 30, 24), score=0.6),
        region("removed", "cat", (34, 4, 44, 14), score=0.3),
        region("tree", "tree", (4, 40, 14, 60), score=0.8),
    ]),
    1: ("v2", [region("named", "cat", (10, 10, 20, 30), score=0.7)]),
    2: ("v2", [region("skipped", "cat", (10, 10, 20, 30), score=0.7)]),
    4: ("v2", [region("untouched", "cat", (10, 10, 20, 30), score=0.7)]),
}  # fmt: skip


def done(predictions: dict[int, int]) -> list[tuple[int, dict[str, Any]]]:
    """Return (image, annotation) pairs: what people did, given the predictions' ids by image."""
    kept = {"origin": "prediction"}
    first = [
        region("accepted", "cat", (4, 4, 14, 24), score=0.9, **kept),
        region("grown", "dog", (20, 4, 30, 34), score=0.6, origin="prediction-changed"),
        region("tree", "tree", (4, 40, 14, 60), score=0.8, **kept),
        region("new", "dog", (34, 40, 44, 60), origin="manual"),
    ]
    renamed = [region("named", "dog", (10, 10, 20, 30), score=0.7, origin="prediction-changed")]
    agreed = [region("named", "cat", (10, 10, 20, 30), score=0.7, **kept)]
    fresh = [region("fresh", "cat", (0, 0, 20, 20), origin="manual")]
    return [
        (0, {"result": first, "parent_prediction": predictions[0], "lead_time": 10.0}),
        (1, {"result": renamed, "parent_prediction": predictions[1], "lead_time": 20.0}),
        (1, {"result": agreed, "parent_prediction": predictions[1], "lead_time": 60.0}),
        (2, {"result": [], "parent_prediction": predictions[2], "was_cancelled": True, "lead_time": 5.0}),
        (3, {"result": fresh, "lead_time": 90.0}),
    ]


def upload(api: Api, project: int) -> list[int]:
    """Upload five images and return their tasks' ids."""
    for number in range(5):
        target = io.BytesIO()
        Image.new("RGB", (WIDTH, HEIGHT), (40 * number, 120, 90)).save(target, format="PNG")
        files = {f"img{number}.png": (f"img{number}.png", target.getvalue(), "image/png")}
        api.call("POST", f"/api/projects/{project}/import", files=files)
    return sorted(task["id"] for task in api.call("GET", f"/api/tasks?project={project}&fields=all")["tasks"])


def correct(api: Api, project: int, tasks: list[int]) -> None:
    """Store the predictions and do to them what `done` says."""
    predictions = {}
    for image, (version, regions) in PREDICTED.items():
        body = {"task": tasks[image], "result": regions, "score": 0.5, "model_version": version}
        predictions[image] = api.call("POST", "/api/predictions/", json=body)["id"]
    # The version that the project shows: of it Label Studio puts a copy into each annotation.
    api.call("PATCH", f"/api/projects/{project}", json={"model_version": "v1"})
    for image, annotation in done(predictions):
        api.call("POST", f"/api/tasks/{tasks[image]}/annotations/", json=annotation)


def snapshot(api: Api, project: int) -> Any:
    """Make an export snapshot that holds the predictions, and return it."""
    base = f"/api/projects/{project}/exports"
    body = {"serialization_options": {"predictions": {"only_id": False}}}
    number = api.call("POST", f"{base}/", json=body)["id"]
    for _ in range(60):
        if api.call("GET", f"{base}/{number}")["status"] == "completed":
            return api.call("GET", f"{base}/{number}/download?exportType=JSON")
        time.sleep(1)
    raise TimeoutError(f"the export {number} of project {project} was not completed in a minute")


def main() -> None:
    """Record all files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("token")
    options = parser.parse_args()
    api = Api(options.url, options.token)
    project = api.call("POST", "/api/projects", json={"title": "corrected", "label_config": CONFIG})["id"]
    try:
        correct(api, project, upload(api, project))
        button = f"/api/projects/{project}/export?download_all_tasks=true&exportType=JSON"
        recorded = {
            "corrections_snapshot": snapshot(api, project),
            "corrections_api": api.call("GET", f"/api/tasks?project={project}&fields=all")["tasks"],
            "corrections_button": api.call("GET", button),
        }
    finally:
        api.call("DELETE", f"/api/projects/{project}")
    (FOLDER / "corrections_config.xml").write_text(CONFIG, encoding="utf-8")
    for name, content in recorded.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
