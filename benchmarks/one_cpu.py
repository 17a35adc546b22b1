"""One CPU: the stages of `fast` at full size, and what other number formats are worth.

    OMP_NUM_THREADS=1 python -m benchmarks.one_cpu --out benchmarks/results/one_cpu.json     # 1 minute, 2 GB

Two things, each of which ``--parts`` can pick; results of the other are kept in the file that ``--out`` names:

- ``stages``: the stages of a category and an image, put together from full_size_cost.json and host_cost.json, which
  were measured stage by stage on one thread. Nothing runs.
- ``formats``: DINOv2 of `fast` with random weights on one window, in float32, in bfloat16, and with int8 linear layers
  (torch's dynamic quantisation), on one thread and on two.

Processor seconds are those of all threads together; other work on the machine lengthens them little.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import architectures
from benchmarks.cost_seconds import machine
from benchmarks.spreads import markdown_table, write_results
from ovdiff.planning.costs import measurements, preset_costs

PARTS = ("stages", "formats")
FORMATS = ("float32", "bfloat16", "int8")
WINDOW_PX = 518
Results = dict[str, Any]


def stage_rows() -> list[Results]:
    """Return the stages of `fast` with their seconds on one thread, the longest first."""
    seconds = {row.stage: row.seconds for row in measurements() if row.preset == "fast" and row.is_on("CPU")}
    rows = [
        {"stage": stage.name, "of": stage.part, "items": stage.items, "seconds": seconds[stage.name] * stage.items}
        for stage in preset_costs("fast").stages
        if stage.name in seconds
    ]
    return sorted(rows, key=lambda row: (row["of"] != "category", -row["seconds"]))


def format_rows(shrink: int = 1) -> list[Results]:
    """Time DINOv2 on one window of `fast` in each format, on one and two threads."""
    side, rows = WINDOW_PX, []
    for form in FORMATS:
        model = in_format(architectures.build_dinov2("cpu", shrink).eval(), form)
        pixels = torch.zeros(1, 3, side, side, dtype=torch.bfloat16 if form == "bfloat16" else torch.float32)
        for threads in (1, 2):
            processor_s, wall_s = _timed(lambda model=model, pixels=pixels: model(pixels), threads)
            rows.append({"format": form, "threads": threads, "processor_s": processor_s, "wall_s": wall_s})
    return rows


def in_format(model: nn.Module, form: str) -> nn.Module:
    """Return a model in another number format; int8 has linear layers of int8 and float32 for the rest."""
    if form == "int8":
        return torch.ao.quantization.quantize_dynamic(model.float(), {nn.Linear}, dtype=torch.qint8)
    return model.to(getattr(torch, form))


def _timed(run: Callable[[], object], threads: int, calls: int = 2) -> tuple[float, float]:
    """Return the least processor and wall seconds of some calls."""
    before, found = torch.get_num_threads(), []
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            for _ in range(calls):
                begun = time.process_time(), time.perf_counter()
                run()
                found.append((time.process_time() - begun[0], time.perf_counter() - begun[1]))
    finally:
        torch.set_num_threads(before)
    return min(each[0] for each in found), min(each[1] for each in found)


def stages_table(results: Any) -> str:
    """Return the stages as Markdown."""
    rows = [[row["stage"], _of(row), f"{row['items']:g}", f"{row['seconds']:.1f}"] for row in results["stages"]]
    for name, of in (("a category, all", ("category",)), ("an image, all", ("encode", "label"))):
        total = sum(row["seconds"] for row in results["stages"] if row["of"] in of)
        rows.append([name, "", "", f"{total:.0f}"])
    return markdown_table(["stage of `fast`", "of", "items", "s on one thread"], rows)


def _of(row: Results) -> str:
    return "a category" if row["of"] == "category" else "an image"


def formats_table(results: Any) -> str:
    """Return the number formats as Markdown."""
    rows = [
        [row["format"], str(row["threads"]), f"{row['processor_s']:.2f}", f"{row['wall_s']:.2f}"]
        for row in results["formats"]["rows"]
    ]
    said = (
        f"*DINOv2 ViT-B/14 with random weights on one window of {WINDOW_PX} px; {results['formats']['machine']}. The "
        f"load average of the two cores was {results['formats']['load_average']:.1f}, so wall seconds are too long.*"
    )
    table = markdown_table(["DINOv2 in", "threads", "processor s a window", "wall s"], rows)
    return f"{table}\n\n{said}"


def main() -> None:
    """Measure what is asked for, and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--out", type=Path, required=True, help="JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = json.loads(options.out.read_text("utf-8")) if options.out.is_file() else {}
    if "stages" in options.parts:
        results["stages"] = stage_rows()
    if "formats" in options.parts:
        rows = format_rows()
        results["formats"] = {"rows": rows, "machine": machine("cpu"), "load_average": os.getloadavg()[0]}
    write_results(options.out, results)


if __name__ == "__main__":
    main()
