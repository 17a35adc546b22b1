"""Peak memory and time of `convert coco` on a large export.

    python -m benchmarks.converters_memory [--tasks 10000] [--folder DIR]

Draws an export of tasks of 640x480 with three model-like brush regions each (their outlines rough by a pixel or
two), converts it to COCO in a process of its own, and prints one JSON object: the sizes of both files, seconds, and
the highest resident memory of that process (`peak_mib`) beside that of a conversion of a single task (`base_mib`:
Python and its libraries). The aim: 10,000 tasks in less than 1 GB. Linux only. Takes about two minutes and 1 GB of
disk on one core.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from scipy import ndimage

from converters.encodings.brush import mask_to_brush_rle
from converters.encodings.masks import Mask

SIZE_HW = (480, 640)
REGIONS = 3
_SHAPES = 32
_XML = (
    '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">'
    '<Label value="cat"/><Label value="dog"/><Label value="boat"/></BrushLabels></View>'
)
_NAMES = ("cat", "dog", "boat")
# VmHWM, not ru_maxrss: that one begins with what the parent held when it made the process.
_PROGRAM = (
    "import re, sys; from converters.cli import main; status = main(sys.argv[1:]); "
    "sys.stderr.write(re.search(r'VmHWM:\\s*(\\d+) kB', open('/proc/self/status').read())[1]); sys.exit(status)"
)


def rough_masks(count: int, seed: int = 0) -> Iterator[Mask]:
    """Draw blobs with a rough outline, as a segmentation that was scaled up has it."""
    rng = np.random.default_rng(seed)
    height, width = SIZE_HW
    for _ in range(count):
        coarse = ndimage.gaussian_filter(rng.normal(size=(height // 8, width // 8)), sigma=6)
        field = ndimage.zoom(coarse, 8, order=1)[:height, :width] / coarse.std()
        yield field + rng.normal(scale=0.02, size=SIZE_HW) > 0.8


def write_export(folder: Path, tasks: int) -> None:
    """Write export.json and config.xml, task by task."""
    rles = [json.dumps(mask_to_brush_rle(mask)) for mask in rough_masks(_SHAPES)]
    (folder / "config.xml").write_text(_XML, encoding="utf-8")
    with (folder / "export.json").open("w", encoding="utf-8") as file:
        for number in range(tasks):
            regions = ",".join(
                _region_json(f"{number}-{i}", _NAMES[i], rles[(number * REGIONS + i) % _SHAPES]) for i in range(REGIONS)
            )
            head = f'{{"id": {number + 1}, "data": {{"image": "/{number}.png"}}, "annotations": [{{"result": ['
            file.write(("[" if number == 0 else ",\n") + head + regions + "]}]}")
        file.write("]\n")


def _region_json(region_id: str, label: str, rle: str) -> str:
    head = {
        "id": region_id,
        "from_name": "brush",
        "to_name": "image",
        "type": "brushlabels",
        "original_width": SIZE_HW[1],
        "original_height": SIZE_HW[0],
    }
    value = f'{{"format": "rle", "brushlabels": [{json.dumps(label)}], "rle": {rle}}}'
    return json.dumps(head)[:-1] + f', "value": {value}}}'


def convert(folder: Path) -> tuple[int, float]:
    """Convert the export in a process of its own; return its peak resident memory in KiB and the seconds it took."""
    words = ["convert", "coco", "export.json", "--label-config", "config.xml", "--out", "coco.json"]
    start = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *words],
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(ran.stderr), time.perf_counter() - start


def measure(tasks: int, folder: Path) -> dict[str, Any]:
    """Write and convert one task, then as many as asked for."""
    write_export(folder, 1)
    base_kib, _ = convert(folder)
    write_export(folder, tasks)
    peak_kib, seconds = convert(folder)
    return {
        "tasks": tasks,
        "regions": tasks * REGIONS,
        "export_mb": round((folder / "export.json").stat().st_size / 1e6, 1),
        "coco_mb": round((folder / "coco.json").stat().st_size / 1e6, 1),
        "seconds": round(seconds, 1),
        "base_mib": round(base_kib / 1024, 1),
        "peak_mib": round(peak_kib / 1024, 1),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where to put the files (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(measure(options.tasks, Path(folder)), indent=2))


if __name__ == "__main__":
    main()
