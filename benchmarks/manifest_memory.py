"""Resident memory of `ovdiff segment --manifest` over many rows, as figures and as a picture.

    python -m benchmarks.manifest_memory [--rows 100000] [--real-rows 300] [--out FILE] [--picture FILE]
    python -m benchmarks.manifest_memory --ray local [--rows 100000] [--out FILE]      # the same on a Ray cluster
    python -m benchmarks.manifest_memory --draw FILE [FILE ...] --picture FILE         # what earlier runs wrote

Drawn scenes of 64 pixels, repeated, by a Parquet manifest with an id and a text of its own for each row, into shards of
1,000 rows. The long curves are of an engine that thresholds brightness in the models' place, so that what is measured
are manifest, images, masks, shards and index; once into COCO shards and once into Parquet. The short curve is of the
embedded models, whose prototypes are made first. The command runs in a process of its own; its memory is read whenever
it says that a shard is written. The slope is that of the least-squares line through the points behind the first tenth,
in MiB for 10,000 rows. 100,000 rows took 6 and 9 minutes on two busy cores. Linux only.
`results/manifest_memory.json` and `docs/manifest-memory.png` have such a run.

On a Ray cluster two engines threshold brightness. There are two curves: of the command, and of the command with all
processes that it started, which with `--ray local` are the whole cluster. What processes share is counted once there
(their proportional set size).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.prelabel_memory import Brightness
from benchmarks.service_memory import resident_mib

PICTURES, SIDE_PX = 24, 64
REAL_WORDS, CHEAP_WORDS = "boat, sky", "dark, bright"
_INK, _PALE, _LINES = "#202020", "#dddddd", ("#2f6db3", "#c0392b", "#3a8f4d", "#8e44ad", "#b9770e")
_WROTE = re.compile(r"shard-\d+\.\w+: rows \d+ to (\d+),")
_TABLE_ROWS = 10_000

Points = Sequence[tuple[int, float]]
"""Rows done, and the resident memory (MiB) then."""


def write_manifest(folder: Path, rows: int) -> Path:
    """Write pictures and a Parquet manifest that names them again and again; return the manifest."""
    import pyarrow
    from pyarrow import parquet

    from ovdiff.tinyworld.world import render, sample_scene

    for number in range(PICTURES):
        scene = render(sample_scene(240 + number, "test", things=2), SIDE_PX)
        Image.fromarray(scene.image).save(folder / f"{number}.png")
    path = folder / "rows.parquet"
    schema = pyarrow.schema([("image", pyarrow.string()), ("id", pyarrow.int64()), ("source", pyarrow.string())])
    with parquet.ParquetWriter(path, schema) as writer:
        for first in range(0, rows, _TABLE_ROWS):
            numbers = range(first, min(first + _TABLE_ROWS, rows))
            names, sources = [f"{each % PICTURES}.png" for each in numbers], [f"the row {each}" for each in numbers]
            writer.write_table(pyarrow.table([names, list(numbers), sources], schema=schema))
    return path


def brightness(*_given: object) -> Brightness:
    """Make the engine that needs no models."""
    return Brightness()


def run_command(arguments: list[str], cheap: bool) -> int:
    """Run the command in this process; with an engine that needs no models if it is to be cheap, on a cluster too."""
    from backend import engine
    from backend.command import cli, on_ray
    from ovdiff.distributed.engine_worker import EngineSpec

    if cheap:
        engine.make_engine = brightness  # type: ignore[assignment]
        on_ray.spec_of = lambda made, bank, device: EngineSpec(made.preset, bank, device, maker=brightness)  # type: ignore[attr-defined]
    return cli.main(arguments)


def measure(
    folder: Path, rows: int, *, cheap: bool, form: str = "coco", shard_rows: int = 1000, ray: str = ""
) -> list[dict[str, Any]]:
    """Run the command over so many rows, and return what its memory did; on a cluster also that of all processes.

    Args:
        folder: an empty folder for manifest and results.
        rows: how many rows.
        cheap: whether an engine without models stands in.
        form: the format of the shards.
        shard_rows: the rows of a shard.
        ray: the cluster on which two engines work; "" for none.
    """
    manifest = write_manifest(folder, rows)
    words = CHEAP_WORDS if cheap else REAL_WORDS
    command = ["segment", "--manifest", str(manifest), "--categories", words, "--out", str(folder / "out")]
    command += ["--format", form, "--shard-size", str(shard_rows), "--preset", "tinyworld"]
    command += ["--ray", ray, "--ray-workers", "2"] if ray else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OVDIFF_DATA_DIR": str(folder / "data")}
    start = [sys.executable, "-u", "-m", "benchmarks.manifest_memory", "--child", "cheap" if cheap else "real"]
    alone, whole = list[tuple[int, float]](), list[tuple[int, float]]()
    began_s = first_s = time.monotonic()
    with subprocess.Popen([*start, *command], stdout=subprocess.PIPE, env=environment, text=True) as process:
        for line in process.stdout or ():
            if found := _WROTE.match(line):
                first_s = first_s if alone else time.monotonic()
                alone.append((int(found[1]), resident_mib(process.pid)))
                whole += [(int(found[1]), family_mib(process.pid))] if ray else []
    if process.returncode:
        raise SystemExit(f"The command ended with {process.returncode}.")
    index = json.loads((folder / "out/index.json").read_text("utf-8"))
    lasted_s = time.monotonic() - first_s
    facts = {
        "engine": "brightness" if cheap else "tinyworld",
        "format": form,
        "shard_rows": shard_rows,
        "images": index["counts"]["images"],
        "masks": index["counts"]["annotations"],
        "seconds": round(time.monotonic() - began_s, 1),
        "rows_a_second": round((rows - alone[0][0]) / lasted_s, 1) if rows > alone[0][0] else None,
    }
    if not ray:
        return [{**facts, **summary(alone)}]
    named = {"command on Ray": alone, "command, Ray and two engines": whole[:-1]}  # engines end before the last shard
    return [{**facts, "processes": name, **summary(points)} for name, points in named.items()]


def family_mib(process_id: int) -> float:
    """Return the memory (MiB) of a process and all that it started; what they share is counted once."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            parents[int(folder.name)] = int((folder / "stat").read_text("utf-8").rpartition(")")[2].split()[1])
    family, found_kib = [process_id], 0
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
        with contextlib.suppress(OSError):
            shares = re.search(r"^Pss:\s*(\d+) kB", Path(f"/proc/{member}/smaps_rollup").read_text("ascii"), re.M)
            found_kib += int(shares[1]) if shares else 0
    return found_kib / 1024


def summary(points: Points) -> dict[str, Any]:
    """Return the memory by rows done, its range behind the first tenth, and its slope there.

    Args:
        points: at least two, in the order of the rows.
    """
    last = points[-1][0]
    behind = [(rows, mib) for rows, mib in points if rows > last / 10] or list(points)
    begun = [(rows, mib) for rows, mib in points if rows <= max(last / 10, points[0][0])]
    slope = np.polyfit(*zip(*behind, strict=True), 1)[0] if len(behind) > 1 else 0.0
    return {
        "rows": last,
        "first_mib": round(points[0][1], 1),
        "highest_mib_in_the_first_tenth": round(max(mib for _, mib in begun), 1),
        "highest_mib_afterwards": round(max(mib for _, mib in behind), 1),
        "slope_mib_per_10000_rows": round(float(slope) * 10_000, 3),
        "mib_by_rows": [[rows, round(mib, 1)] for rows, mib in points],
    }


def draw(curves: Sequence[dict[str, Any]]) -> Image.Image:
    """Return the curves as an RGB picture: resident memory over the share of the rows that is done."""
    width, height, left, top, bottom = 720, 300, 56, 20, 46
    picture = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(picture)
    highest = max(curve["highest_mib_afterwards"] for curve in curves) * 1.25
    step = 100 if highest < 1000 else 500
    across, up = width - left - 20, height - top - bottom

    def at(share: float, mib: float) -> tuple[float, float]:
        return left + share * across, top + (1 - mib / highest) * up

    for mib in range(0, int(highest) + 1, step):
        pen.line([at(0, mib), at(1, mib)], fill=_PALE)
        pen.text((left - 6, at(0, mib)[1]), str(mib), fill=_INK, font=_font(11), anchor="rm")
    for number, (colour, curve) in enumerate(zip(_LINES, curves, strict=False)):
        points = [at(rows / curve["rows"], mib) for rows, mib in curve["mib_by_rows"]]
        pen.line(points, fill=colour, width=2)
        text = f"{curve['rows']:,} rows, {curve.get('processes', curve['engine'])}, {curve['format']} shards: "
        text += f"{curve['slope_mib_per_10000_rows']:+.2f} MiB per 10,000 rows"
        pen.text((left + 10, at(0, highest * 0.62)[1] + 17 * number), text, fill=colour, font=_font(12))
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        pen.text((at(share, 0)[0], height - bottom + 6), f"{share:.0%}", fill=_INK, font=_font(11), anchor="ma")
    pen.rectangle([at(0, highest), at(1, 0)], outline=_INK)
    pen.text((left, 4), "resident MiB", fill=_INK, font=_font(11))
    pen.text((width / 2, height - 18), "rows done", fill=_INK, font=_font(11), anchor="ma")
    return picture


def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _runs(options: argparse.Namespace) -> list[tuple[int, dict[str, Any]]]:
    if options.ray:
        return [(options.rows, {"cheap": True, "ray": options.ray})]
    return [
        (options.rows, {"cheap": True, "form": "coco"}),
        (options.rows, {"cheap": True, "form": "parquet"}),
        (options.real_rows, {"cheap": False, "shard_rows": 20}),
    ]


def main() -> None:
    """Measure, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--real-rows", type=int, default=300)
    parser.add_argument("--out", type=Path, help="the JSON file to write (default: the screen)")
    parser.add_argument("--picture", type=Path, help="the PNG to draw")
    parser.add_argument("--ray", default="", metavar="auto|HOST:PORT|local", help="measure on a Ray cluster alone")
    parser.add_argument("--draw", type=Path, nargs="+", metavar="JSON", help="measure nothing; draw what runs wrote")
    if sys.argv[1:2] == ["--child"]:
        sys.exit(run_command(sys.argv[3:], sys.argv[2] == "cheap"))
    options = parser.parse_args()
    if options.draw:
        drawn = [curve for file in options.draw for curve in json.loads(file.read_text("utf-8"))["curves"]]
        draw(drawn).quantize(32).save(options.picture, optimize=True)
        return
    curves = []
    for rows, more in _runs(options):
        with tempfile.TemporaryDirectory() as folder:
            curves += measure(Path(folder), rows, **more)
    from benchmarks.cost_seconds import machine

    result = {"machine": machine("cpu"), "load_average": [round(each, 1) for each in os.getloadavg()], "curves": curves}
    if options.picture:
        draw(curves).quantize(32).save(options.picture, optimize=True)
    text = json.dumps(result, indent=1)
    if options.out:
        options.out.write_text(text + "\n", "utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
