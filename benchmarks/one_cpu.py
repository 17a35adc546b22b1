"""One CPU: the stages of `fast` at full size, what fewer windows save, and threads against processes.

    OMP_NUM_THREADS=1 python -m benchmarks.one_cpu --out benchmarks/results/one_cpu.json     # 5 minutes, 3 GB

Three parts, each of which ``--parts`` can pick; the others' results are kept in the file that ``--out`` names:

- ``stages``: the stages of a category and an image, put together from full_size_cost.json and host_cost.json, which
  were measured stage by stage on one thread. Nothing runs.
- ``windows``: drawn scenes segmented by the embedded models with fewer windows: processor seconds of an image, setting
  by setting in turns, and the mIoU; beside it the windows of `fast`, with seconds computed from its stages.
- ``workers``: `ovdiff segment` on a folder of drawn scenes: one process on one thread and on two, and two processes on
  one thread each. Wall seconds say something on an idle machine alone.

Processor seconds are those of all threads together; other work on the machine lengthens them little.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from benchmarks.cost_seconds import machine
from benchmarks.drawn_world import BANK, EVERYTHING, USUAL_PX, Bench, true_labels, vary
from benchmarks.spreads import markdown_table, write_results
from converters.metrics.confusion import confusion_matrix, mean_iou
from ovdiff import Preset, load_preset
from ovdiff.evaluation.rows import Changes
from ovdiff.planning.costs import measurements, preset_costs
from ovdiff.segmenting.windows import plan_windows, working_size_hw
from ovdiff.tinyworld.world import render, sample_scene

PARTS = ("stages", "windows", "workers")
SCENES, SEED = 60, 42
PHOTO_HW = (480, 640)
Results = dict[str, Any]


PRESET = 'base = "tinyworld"\nname = "cpu"\ncache = { disk_mib = 0 }\n'
"""The embedded models; what was encoded is not kept, so that each run encodes every scene."""


class Setting(NamedTuple):
    """Fields of a preset that make an image quicker, as TOML, and the changes of both presets.

    ``fast`` is ``None`` where its seconds cannot be computed from its stages.
    """

    toml: str
    tinyworld: Changes
    fast: Changes | None


SETTINGS = (
    Setting("as the preset is", {}, {}),
    Setting("`windows.whole_image = false`", *2 * ({"windows": {"whole_image": False}},)),
    Setting("`windows.crops_px = []`", *2 * ({"windows": {"crops_px": []}},)),
    Setting(
        "`window_px` of each extractor at two thirds to three quarters",
        {"extractors": {"stable_diffusion": {"window_px": 64}, "clip": {"window_px": 96}}},
        None,
    ),
)


def stage_rows() -> list[Results]:
    """Return the stages of `fast` with their seconds on one thread, the longest first."""
    seconds = {row.stage: row.seconds for row in measurements() if row.preset == "fast" and row.is_on("CPU")}
    rows = [
        {"stage": stage.name, "of": stage.part, "items": stage.items, "seconds": seconds[stage.name] * stage.items}
        for stage in preset_costs("fast").stages
        if stage.name in seconds
    ]
    return sorted(rows, key=lambda row: (row["of"] != "category", -row["seconds"]))


# ---------------------------------------------------------------- windows


def window_rows(scenes: int, bank: Path) -> list[Results]:
    """Segment drawn scenes with each setting, in turns, and compute what the same settings make of `fast`."""
    preset = vary(load_preset("tinyworld"), cache={"disk_mib": 0, "features_mib": 0})
    bench = Bench(preset, SEED, bank)
    first = bench.engine()
    engines = [first, *(first.beside(vary(bench.preset, **setting.tinyworld), first.bank) for setting in SETTINGS[1:])]
    seconds: list[list[float]] = [[] for _ in SETTINGS]
    totals: list[Any] = [0 for _ in SETTINGS]
    for number in range(-1, scenes):  # the first scene loads the models, and is not counted
        drawn = render(sample_scene(max(number, 0), "test"), USUAL_PX)
        truth = true_labels(drawn.label_map, EVERYTHING)
        for place, engine in enumerate(engines):
            begun = time.process_time()
            found = engine.segment(drawn.image, EVERYTHING)
            if number >= 0:
                seconds[place].append(time.process_time() - begun)
                totals[place] = totals[place] + confusion_matrix(truth, found.label_map, len(EVERYTHING.categories))
    return [
        {
            "setting": setting.toml,
            "windows": _windows((USUAL_PX, USUAL_PX), engine.preset),
            "processor_s": statistics.median(seconds[place]),
            "miou": mean_iou(totals[place]),
            **_of_fast(setting.fast),
        }
        for place, (setting, engine) in enumerate(zip(SETTINGS, engines, strict=True))
    ]


def _windows(size_hw: tuple[int, int], preset: Preset) -> int:
    """Return how many windows an image of (H, W) px has; those that coincide are one."""
    return len(plan_windows(working_size_hw(size_hw, preset.windows), preset.windows))


def _of_fast(changes: Changes | None) -> Results:
    """Return the windows of `fast` on a photograph, and the seconds of an image on one thread, from its stages."""
    if changes is None:
        return {"fast_windows": None, "fast_s": None}
    preset = load_preset("fast")
    usual, fewer = (_windows(PHOTO_HW, each) for each in (preset, vary(preset, **changes)))
    stages = [row for row in stage_rows() if row["of"] != "category"]
    shares = [fewer / usual if row["items"] == usual else 1.0 for row in stages]  # those that run once a window
    seconds = sum(row["seconds"] * share for row, share in zip(stages, shares, strict=True))
    return {"fast_windows": fewer, "fast_s": seconds}


# ---------------------------------------------------------------- workers


def worker_rows(scenes: int, bank: Path) -> list[Results]:
    """Segment a folder by `ovdiff segment` in three ways, and compare the masks."""
    Bench(load_preset("tinyworld"), SEED, bank)
    rows, masks = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "scenes").mkdir()
        (folder / "cpu.toml").write_text(PRESET)
        for number in range(scenes):
            picture = Image.fromarray(render(sample_scene(number, "test"), USUAL_PX).image)
            picture.save(folder / "scenes" / f"{number:03}.png")
        for how, threads, workers in (("1 process", 1, 1), ("1 process", 2, 1), ("2 processes", 1, 2)):
            out = folder / f"{workers}-{threads}"
            wall_s, processor_s = _segmented(folder / "scenes", out, bank.absolute(), threads, workers)
            masks[out] = {file.name: file.read_bytes() for file in sorted(out.iterdir())}
            same = sum(masks[out][file] == made for file, made in next(iter(masks.values())).items())
            rows.append({"how": how, "threads": threads, "wall_s": wall_s, "processor_s": processor_s, "same": same})
    return rows


def _segmented(scenes: Path, out: Path, bank: Path, threads: int, workers: int) -> tuple[float, float]:
    """Return the wall seconds of a command, and the processor seconds of all its processes."""
    words = ", ".join(category.name for category in EVERYTHING.categories)
    command = [sys.executable, "-m", "backend.command.cli", "segment", str(scenes), "--categories", words, "--quiet"]
    command += ["--indexed", "--out", str(out), "--bank", str(bank), "--workers", str(workers)]
    command += ["--preset", str(out.parent / "cpu.toml")]
    environment = {**os.environ, "OVDIFF_DATA_DIR": str(out.parent), "OMP_NUM_THREADS": str(threads)}
    begun, before = time.perf_counter(), os.times()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    children = [each.children_user + each.children_system for each in (before, after)]
    return time.perf_counter() - begun, children[1] - children[0]


# ---------------------------------------------------------------- tables


def stages_table(results: Any) -> str:
    """Return the stages as Markdown."""
    rows = [[row["stage"], _of(row), f"{row['items']:g}", f"{row['seconds']:.1f}"] for row in results["stages"]]
    for name, of in (("a category, all", ("category",)), ("an image, all", ("encode", "label"))):
        total = sum(row["seconds"] for row in results["stages"] if row["of"] in of)
        rows.append([name, "", "", f"{total:.0f}"])
    return markdown_table(["stage of `fast`", "of", "items", "s on one thread"], rows)


def _of(row: Results) -> str:
    return "a category" if row["of"] == "category" else "an image"


def windows_table(results: Any) -> str:
    """Return what fewer windows save and cost as Markdown."""
    said = results["windows"]
    rows = [
        [
            row["setting"],
            str(row["windows"]),
            f"{row['processor_s']:.2f}",
            f"{row['miou']:.3f}",
            "–" if row["fast_s"] is None else str(row["fast_windows"]),
            "–" if row["fast_s"] is None else f"{row['fast_s']:.0f}",
        ]
        for row in said["rows"]
    ]
    height, width = PHOTO_HW
    text = (
        f"*`tinyworld`: {said['scenes']} usual scenes of the split `test`, 19 words, generation seed {SEED}; the "
        "median processor seconds of an image on one thread, all settings in turns. `fast`: computed for a photograph "
        f"of {width} x {height} from the seconds of its stages. {said['machine']}.*"
    )
    head = ["setting", "windows, `tinyworld`", "s, measured", "mIoU", "windows, `fast`", "s, computed"]
    return f"{markdown_table(head, rows)}\n\n{text}"


def workers_table(results: Any) -> str:
    """Return threads against processes as Markdown."""
    said = results["workers"]
    rows = [
        [
            f"{row['how']}, {row['threads']} {'thread' if row['threads'] == 1 else 'threads'}"
            + (" each" if row["how"] != "1 process" else ""),
            f"{row['processor_s']:.1f}",
            f"{row['wall_s']:.1f}",
            f"{row['same']} of {said['scenes']}",
        ]
        for row in said["rows"]
    ]
    text = (
        f"*The whole command, its start included, on {said['scenes']} drawn scenes with 19 words. The load average of "
        f"the two cores was {said['load_average']:.1f} when it began. {said['machine']}.*"
    )
    head = ["`ovdiff segment` by", "processor s", "wall s", "masks as on one thread, to the byte"]
    return f"{markdown_table(head, rows)}\n\n{text}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is asked for, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--scenes", type=int, default=SCENES)
    parser.add_argument("--bank", type=Path, default=BANK, help="where prototypes are kept")
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    results = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {}
    about = {"scenes": options.scenes, "machine": machine("cpu"), "load_average": os.getloadavg()[0]}
    if "stages" in options.parts:
        results["stages"] = stage_rows()
    if "windows" in options.parts:
        results["windows"] = {"rows": window_rows(options.scenes, options.bank), **about}
    if "workers" in options.parts:
        results["workers"] = {"rows": worker_rows(options.scenes, options.bank), **about}
    write_results(options.out, results)


if __name__ == "__main__":
    main()
