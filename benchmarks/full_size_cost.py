"""What a category and an image cost on the real architectures, stage by stage, beside the floor of section B.

    OMP_NUM_THREADS=1 python -m benchmarks.full_size_cost --out benchmarks/results/full_size_cost.json

Weights are random: cost depends on no trained value, and nothing is downloaded. Three parts, each of which
``--parts`` can pick; results of the others are kept in the file that ``--out`` names:

- ``memory``: peak memory and arithmetic of every stage at several batches, on "meta" tensors, so without a GPU and
  without doing it (:mod:`benchmarks.memory_trace`). Attention counts as the fused kernel. CutLER, whose work depends
  on values, runs for real on the CPU. A minute a preset.
- ``plan``: the batches that the preset's budgets leave, and what each stage then takes of them. A minute a preset.
- ``seconds``: stages on this machine, beside the time of their floor at the speed of a plain matrix product, and
  decisions beside named peers. Where there is a CUDA device it is used, with whole categories; a CPU runs one item
  of each stage in bfloat16 (what is float32 on a GPU too stays it), in processor seconds of one thread: 5 minutes a
  preset, and 5 GiB of memory.

``--stages`` takes parts of stages' names, such as ``dino clustering``; other stages keep their earlier results.

Expect section B's arithmetic within 1 % for Stable Diffusion. Transformers take 6 to 16 % less: their last block, and
CLIP's last two, are not run further than their keys. Captions take a fifth, as they are cut to their length. Expect
the unfused peer to take eight times the memory of a step: at the paper's batch of 16 it explains the 21 GB that
were reported of the released code.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.cost_peers import ON_A_CPU, ON_A_GPU
from benchmarks.cost_seconds import gmac_per_s, machine, release, time_stage
from benchmarks.cost_stages import TEXTS, Stage, peer_stages, stages
from benchmarks.full_size_models import full_size_parts
from benchmarks.memory_plan import load_everything, plan, stage_cost
from ovdiff import Preset, load_preset

Results = dict[str, Any]
PARTS = ("memory", "plan", "seconds")
_TEXTS_ON_A_CPU = 32


def measure_memory(preset: Preset, wanted: Callable[[str], bool]) -> Results:
    """Trace every wanted stage at all of its batches."""
    parts = full_size_parts(preset, "meta")
    load_everything(parts)
    both = {**stages(preset), **peer_stages(preset)}
    return {name: _traced(parts, stage) for name, stage in both.items() if wanted(name)}


def measure_plan(preset: Preset) -> list[Results]:
    """Return the plan's stages as data."""
    return [{**asdict(stage), "peak_mib": stage.peak_mib} for stage in plan(preset)]


def measure_seconds(preset: Preset, wanted: Callable[[str], bool], device: str) -> Results:
    """Time the wanted stages and comparisons on one device."""
    dtype = torch.float16 if device == "cuda" else torch.bfloat16
    speeds = {"half": gmac_per_s(device, dtype), "float32": gmac_per_s(device, torch.float32)}
    timed = {}
    for name, stage in stages(preset).items():
        if wanted(name) and (device == "cuda" or not name.endswith("clustering")):
            _tell(name)
            timed[name] = _timed(preset, stage, device, speeds["float32" if stage.float32 else "half"])
            release(device)
    peers = ON_A_GPU if device == "cuda" else ON_A_CPU
    compared: list[Results] = []
    for name, compare in peers.items():
        if wanted(name):
            _tell(f"{name}, beside its peers")
            parts = full_size_parts(preset, device, None if device == "cuda" else dtype)
            compared += [{**asdict(found), "ratio": found.ratio} for found in compare(parts, device)]
            del parts
            release(device)
    return {"machine": machine(device), "gmac_per_s": speeds, "stages": timed, "peers": compared}


def _traced(parts: Any, stage: Stage) -> Results:
    costs = {batch: stage_cost(parts, stage, batch) for batch in stage.batches}
    smallest, largest = stage.batches[0], stage.batches[-1]
    least, most = costs[smallest].peak_mib, costs[largest].peak_mib
    slope = (most - least) / (largest - smallest) if largest > smallest else most / largest
    return {
        "item": stage.item,
        "peak_mib": {str(batch): cost.peak_mib for batch, cost in costs.items()},  # as JSON has it
        "mib_per_item": slope,
        "gmac_per_item": costs[largest].gmac / largest,
        "floor_gmac_per_item": stage.floor_gmac,
        "items_per_category": stage.per_category,
        "items_per_image": stage.per_image,
        "run_on": "the CPU, for real, in float32" if stage.traced_on == "cpu" else "meta tensors",
    }


def _timed(preset: Preset, stage: Stage, device: str, speed: float) -> Results:
    """Time a stage on models of its own, so that no more than one is in memory."""
    count = 1 if stage.batches[0] != TEXTS else TEXTS if device == "cuda" else _TEXTS_ON_A_CPU
    dtype = None if device == "cuda" else torch.bfloat16
    timing = time_stage(full_size_parts(preset, device, dtype), stage, count, device)
    floor_s = stage.floor_gmac / speed if stage.floor_gmac else None
    return {
        "item": stage.item,
        "seconds_per_item": timing.seconds / count,
        "floor_seconds_per_item": floor_s,
        "repeats": timing.repeats,
        "peak_mib": timing.peak_mib,
        "items_per_category": stage.per_category,
        "items_per_image": stage.per_image,
    }


def memory_table(rows: Any) -> list[str]:
    """Return the trace as Markdown: memory an item, arithmetic an item and what section B says of it."""
    lines = _header("stage", "MiB at batches", "MiB an item", "GMAC an item", "section B", "a category", "an image")
    for name, row in rows.items():
        peaks = ", ".join(f"{batch}: {peak:.0f}" for batch, peak in row["peak_mib"].items())
        cells = [name, peaks, f"{row['mib_per_item']:.1f}", f"{row['gmac_per_item']:.1f}"]
        lines.append(_row(*cells, _number(row["floor_gmac_per_item"]), *_counts(row)))
    return [*lines, "", *(f"{what}: {tflop:.1f} TFLOP" for what, tflop in totals(rows).items())]


def totals(rows: Results) -> dict[str, float]:
    """Return the arithmetic of a whole category and a whole image in TFLOP, every caption embedded anew."""

    def tflop(count: str) -> float:
        return sum(2 * row["gmac_per_item"] * row[count] for row in rows.values()) / 1000

    return {"a category": tflop("items_per_category"), "an image": tflop("items_per_image")}


def plan_table(rows: Any) -> list[str]:
    """Return the plan as Markdown, in GiB."""
    lines = _header("stage", "batch", "weights of all models", "its own", "with the reserve", "budget")
    for row in rows:
        sizes = (row[field] / 1024 for field in ("weights_mib", "own_mib", "peak_mib", "budget_mib"))
        lines.append(_row(row["stage"], str(row["batch"]), *(f"{size:.2f}" for size in sizes)))
    return lines


def seconds_tables(measured: Any) -> list[str]:
    """Return stages and comparisons as Markdown."""
    speeds = measured["gmac_per_s"]
    peer = f"a matrix product runs {speeds['half']:.0f} GMAC/s in half precision, {speeds['float32']:.0f} in float32"
    lines = [f"{measured['machine']}; {peer}", ""]
    lines += _header("stage", "seconds an item", "floor", "ratio", "peak MiB", "a category", "an image")
    for name, row in measured["stages"].items():
        seconds, floor = row["seconds_per_item"], row["floor_seconds_per_item"]
        ratio = f"{seconds / floor:.2f}" if floor else ""
        cells = [name, f"{seconds:.3f}", _number(floor, 3), ratio, _number(row["peak_mib"], 0)]
        lines.append(_row(*cells, *_counts(row)))
    lines += ["", *_header("what", "ours", "s", "peer", "s", "peer / ours")]
    for row in measured["peers"]:
        times = f"{row['ours_s']:.2f}", f"{row['peer_s']:.2f}"
        lines.append(_row(row["what"], row["ours"], times[0], row["peer"], times[1], f"{row['ratio']:.2f}"))
    return lines


def _header(*titles: str) -> list[str]:
    return [_row(*titles), _row(*["---"] * len(titles))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _counts(row: Results) -> tuple[str, str]:
    return str(row["items_per_category"] or ""), str(row["items_per_image"] or "")


def merged(earlier: Results, measured: Results) -> Results:
    """Return results with those of an earlier run kept where this one has none."""
    both = {**earlier, **measured}
    nested = {name for name in measured if isinstance(measured[name], dict) and isinstance(earlier.get(name), dict)}
    return both | {name: merged(earlier[name], measured[name]) for name in nested}


def _tell(what: str) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["paper", "fast"], help="names or TOML files")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--stages", nargs="+", default=[""], help="parts of names; all by default")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--out", type=Path, help="JSON; what it holds already is kept where nothing new is measured")
    return parser.parse_args()


def _measure(preset: Preset, options: argparse.Namespace) -> Iterable[tuple[str, Any]]:
    def wanted(name: str) -> bool:
        return any(part in name for part in options.stages)

    if "memory" in options.parts:
        yield "memory", measure_memory(preset, wanted)
    if "plan" in options.parts:
        yield "plan", measure_plan(preset)
    if "seconds" in options.parts:
        yield f"seconds on {options.device}", measure_seconds(preset, wanted, options.device)


def main(write: Callable[[str], None] = print) -> None:
    """Measure, print Markdown tables, and write the figures as JSON after each part."""
    options = _options()
    torch.set_num_threads(1)
    earlier = json.loads(options.out.read_text()) if options.out and options.out.is_file() else {}
    for name in options.presets:
        for part, measured in _measure(load_preset(name), options):
            if options.stages == [""]:  # nothing of a stage that is no more
                earlier.get(name, {}).pop(part, None)
            earlier = merged(earlier, {name: {part: measured}})
            table = {"memory": memory_table, "plan": plan_table}.get(part, seconds_tables)
            write("\n".join([f"\n## {name}: {part}\n", *table(earlier[name][part])]))
            if options.out:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                options.out.write_text(json.dumps(earlier, indent=1) + "\n")


if __name__ == "__main__":
    main()
