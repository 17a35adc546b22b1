"""Time of `convert coco` and `evaluate-corrections` beside the bare decoding and encoding of the same regions.

    python -m benchmarks.converters_speed [--tasks 100] [--repeats 5] [--tool brush|bitmask|polygon] [--size 480x640]

Draws an export with three predicted regions a task, and annotations that keep one, change one and draw one anew. In one
run, in turn, it measures the medians of the processor seconds of

    plain of annotations   the file is parsed, the masks of the annotations are decoded and encoded as COCO RLE
    plain of all           the same, with the predictions
    convert coco           bar: 1.3 times plain of annotations
    evaluate-corrections   bar: 2.5 times plain of all, which is what it has to read

and prints one JSON object with seconds and ratios. Takes about a minute. Seconds are those of the machine; the ratios
are what travels.
"""

import argparse
import contextlib
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from converters.cli import main as converters_main
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.encodings.masks import Mask
from converters.encodings.polygons import mask_to_polygons
from converters.files.json_stream import read_json_array
from converters.label_studio.config_for import label_config_for
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.shapes import shape_reader
from converters.label_studio.tasks import region_to_results
from converters.records import DatasetCategory, Region

TOOLS = {"brush": "BrushLabels", "bitmask": "BitmaskLabels", "polygon": "PolygonLabels"}
CONVERT_BAR = 1.3
EVALUATE_BAR = 2.5
_CATEGORIES = tuple(DatasetCategory(i, name) for i, name in enumerate(("cat", "dog", "boat"), start=1))
_SHAPES = 12


def rough_masks(count: int, size_hw: tuple[int, int], seed: int = 0) -> Iterator[Mask]:
    """Draw objects of about a fifth of the image's sides with a rough outline, as a segmentation has it."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    rows, columns = np.ogrid[:height, :width]
    for _ in range(count):
        y, x = rng.uniform(0.2, 0.8, 2) * size_hw
        distance = np.hypot((rows - y) / (height * 0.12), (columns - x) / (width * 0.12))
        rough = ndimage.zoom(rng.normal(scale=0.1, size=(height // 8 + 1, width // 8 + 1)), 8, order=1)
        yield distance + rough[:height, :width] + rng.normal(scale=0.02, size=size_hw) < 1


def write_export(folder: Path, tasks: int, tool: str, size_hw: tuple[int, int]) -> None:
    """Write export.json and config.xml."""
    xml = label_config_for(_CATEGORIES, TOOLS[tool])
    (folder / "config.xml").write_text(xml, encoding="utf-8")
    control = parse_label_config(xml).controls[0]
    drawn = [_result(mask, control, tool) for mask in rough_masks(_SHAPES, size_hw)]
    with (folder / "export.json").open("w", encoding="utf-8") as file:
        file.write("[" + ",\n".join(json.dumps(_task(number, drawn)) for number in range(tasks)) + "]")


def _result(mask: Mask, control: Any, tool: str) -> Any:
    polygon = tuple(map(tuple, mask_to_polygons(mask)[0].tolist())) if tool == "polygon" else None
    region = Region("r", ("cat",), "label", mask_to_coco_rle(mask), polygon=polygon)
    return region_to_results(region, control, "image")[0]


def _task(number: int, drawn: list[Any]) -> dict[str, Any]:
    """Return a task: of three predicted regions one is kept, one changed, one taken away; one is drawn anew."""
    shapes = [drawn[(number * 5 + i) % len(drawn)] for i in range(5)]
    names = [category.name for category in _CATEGORIES]
    results = [_named(shape, f"{number}-{i}", names[i % 3]) for i, shape in enumerate(shapes)]
    predicted = [{**result, "score": 0.9} for result in results[:3]]
    changed = {**_named(shapes[3], f"{number}-1", "dog"), "score": 0.9, "origin": "prediction-changed"}
    annotated = [{**predicted[0], "origin": "prediction"}, changed, {**results[4], "origin": "manual"}]
    return {
        "id": number,
        "data": {"image": f"{number}.png"},
        "annotations": [{"id": number, "parent_prediction": number, "lead_time": 9.0, "result": annotated}],
        "predictions": [{"id": number, "model_version": "v1", "score": 0.9, "result": predicted}],
    }


def _named(result: Any, region_id: str, name: str) -> Any:
    return {**result, "id": region_id, "value": {**result["value"], result["type"]: [name]}}


def plain(export: Path, *keys: str) -> None:
    """Parse an export, decode the masks under these keys of its tasks, and encode them as COCO RLE."""
    for task in read_json_array(export):
        for key in keys:
            for result in task[key][0]["result"]:
                read = shape_reader(result)
                assert read is not None
                mask, _ = read(result["value"], (result["original_height"], result["original_width"]))
                mask_to_coco_rle(mask)


def _command(folder: Path, *words: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        converters_main([*words, "--label-config", str(folder / "config.xml")])


def measure(folder: Path, repeats: int) -> dict[str, float]:
    """Return the median seconds of each of the four, which run in turn."""
    export = folder / "export.json"
    jobs: dict[str, Callable[[], None]] = {
        "plain_of_annotations": lambda: plain(export, "annotations"),
        "convert_coco": lambda: _command(folder, "convert", "coco", str(export), "--out", str(folder / "coco.json")),
        "plain_of_all": lambda: plain(export, "annotations", "predictions"),
        "evaluate_corrections": lambda: _command(
            folder, "evaluate-corrections", str(export), "--out", str(folder / "report"), "--worst", "0"
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(repeats + 1):
        for name, job in jobs.items():
            started = time.process_time()
            job()
            if turn:  # the first turn imports and warms up
                seconds[name].append(time.process_time() - started)
    return {name: statistics.median(measured) for name, measured in seconds.items()}


def ratios(seconds: dict[str, float]) -> dict[str, float]:
    """Return how many times the bare work each command takes, and the two commands beside each other."""
    return {
        "convert_to_plain": seconds["convert_coco"] / seconds["plain_of_annotations"],
        "evaluate_to_plain": seconds["evaluate_corrections"] / seconds["plain_of_all"],
        "evaluate_to_convert": seconds["evaluate_corrections"] / seconds["convert_coco"],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--tool", choices=TOOLS, default="brush")
    parser.add_argument("--size", default="480x640", metavar="HEIGHTxWIDTH")
    options = parser.parse_args()
    height, width = map(int, options.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        write_export(Path(name), options.tasks, options.tool, (height, width))
        seconds = measure(Path(name), options.repeats)
    bars = {"convert_to_plain": CONVERT_BAR, "evaluate_to_plain": EVALUATE_BAR}
    print(json.dumps({**vars(options), "seconds": seconds, "ratios": ratios(seconds), "bars": bars}, indent=1))


if __name__ == "__main__":
    main()
