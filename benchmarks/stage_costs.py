"""What `ovdiff plan` knows: the stages of the presets, what an item of each takes, and what was measured of them.

    OMP_NUM_THREADS=1 python -m benchmarks.stage_costs              # writes ovdiff/planning/stages.json; 3 minutes
    OMP_NUM_THREADS=1 python -m benchmarks.stage_costs --seconds    # only what benchmarks/results hold, at once

Arithmetic and bytes are traced on "meta" tensors (:mod:`benchmarks.memory_trace`), without a GPU. Seconds are those of
benchmarks/results: full_size_cost.json, and host_cost.json, which `python -m benchmarks.host_cost` measures. A row of
"measured" is what :mod:`ovdiff.planning.costs` documents.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.cost_stages import CATEGORIES, Stage, feature_shape, stages
from benchmarks.full_size_models import FullSizeParts, full_size_parts
from benchmarks.memory_plan import load_everything, stage_cost
from benchmarks.memory_trace import MIB
from ovdiff import Preset, load_preset
from ovdiff.engines import load_any_preset
from ovdiff.odise.preset import OdisePreset
from ovdiff.presets.needs import feature_dtype
from ovdiff.segmenting.windows import plan_windows

RESULTS = Path(__file__).parent / "results"
OUT = Path(__file__).parents[1] / "ovdiff" / "planning" / "stages.json"
FULL_SIZE = ("fast", "paper")

PARTS_SEEN = 6
"""Parts of an image at which CLIP looks, supposed: nobody counted them on photographs."""

_WORKING_HW = (448, 597)
_LABELLING = ("matching", "CLIP text embedding", "PAMR")
_TEXT = "CLIP text embedding"
Row = dict[str, Any]


def traced_stages(preset: Preset) -> Iterator[Row]:
    """Yield the stages of a preset of full size, each traced."""
    parts = full_size_parts(preset, "meta")
    load_everything(parts)
    for name, stage in stages(preset).items():
        items = stage.per_category or stage.per_image
        if items:
            yield {**_stage(name, stage, items), **_traced(parts, stage)}
    if preset.part_check.enabled:
        look = stages(preset)["CLIP image embedding"]
        row = _stage("CLIP's look at parts", look, len(preset.part_check.crops_wider) * PARTS_SEEN)
        note = f"{PARTS_SEEN} parts an image are supposed"
        yield {**row, "part": "label", "note": note, **_traced(parts, look)}
    if preset.proposals.source == "maskcut":
        yield _on_core("MaskCut's cuts", "category", preset.generation.images)


def host_stages() -> list[Row]:
    """Return what a core does for each image beside the device."""
    return [_on_core("reading an image", "encode", 1), _on_core("encoding masks", "label", 1)]


def _on_core(name: str, part: str, items: float) -> Row:
    return {"name": name, "part": part, "items": items, "runs_on": "core"}


def _stage(name: str, stage: Stage, items: float) -> Row:
    part = "category" if stage.per_category else "label" if any(word in name for word in _LABELLING) else "encode"
    row: Row = {"name": name, "part": part, "items": items, "item": stage.item}
    if name == _TEXT:
        row["note"] = "the most that an image can ask for, none of it remembered"
    if name.endswith("clustering"):
        row["note"] = "one pass of k-means is counted; how many the features need is unknown"
    return row


def _traced(parts: FullSizeParts, stage: Stage) -> Row:
    """Return what an item takes, at that of the smallest and the largest batch which moves fewer bytes an item."""
    costs = [(stage_cost(parts, stage, batch), batch) for batch in {stage.batches[0], stage.batches[-1]}]
    return {
        "flops": 2e9 * min(cost.gmac / batch for cost, batch in costs),
        "bytes": min(cost.moved_bytes / batch for cost, batch in costs),
    }


def sizes(preset: Preset, earlier: Row, host: Row) -> Row:
    """Return the bytes of a preset's files and processes."""
    planned = earlier["plan"]
    build = [row for row in planned if row["budget_mib"] == preset.memory.build_gib * 1024]
    image = [row for row in planned if row["budget_mib"] == preset.memory.segment_gib * 1024]
    return {
        "weights": planned[0]["weights_mib"] * MIB,
        "encoding": encoding_bytes(preset),
        "category": category_bytes(preset),
        "masks": host["bytes of a mask"],
        "device_category": max(map(_peak_mib, build)) * MIB,
        "device_image": max(map(_peak_mib, image)) * MIB,
        "host_cache": preset.cache.features_mib * MIB,
    }


def _peak_mib(row: Row) -> float:
    return float(row["peak_mib"])


def encoding_bytes(preset: Preset) -> int:
    """Return the bytes of the kept encoding of a 4:3 image: features of all windows, and the working image."""
    windows = len(plan_windows(_WORKING_HW, preset.windows))
    total = _WORKING_HW[0] * _WORKING_HW[1] * 3
    for name in preset.active_extractors():
        width, cells = feature_shape(preset, name, "window")
        total += windows * width * cells * cells * (2 if feature_dtype(preset, name) == "float16" else 4)
    return total


def category_bytes(preset: Preset) -> int:
    """Return the bytes that a category adds to the bank: prototypes of both sides in float32, and support images.

    Support images are pictures of noise at worst; three bytes a pixel is the most that a PNG takes of them.
    """
    generation = preset.generation
    rows = 2 * (1 + generation.images + preset.prototypes.parts)
    widths = sum(feature_shape(preset, name, "support")[0] for name in preset.extractors.use)
    return rows * widths * 4 + generation.images * generation.size_px**2 * 3


def odise_costs(earlier: Row, preset: OdisePreset, host: Row) -> Row:
    """Return ODISE's stages from its own trace, which counts no bytes."""
    image = earlier["images"]["4:3"]
    rows = [
        {
            "name": name,
            "part": "label" if name.startswith("CLIP's") else "encode",
            "items": image["windows"] if row["item"] == "window" else 1,
            "item": row["item"],
            "flops": 2e9 * row["gmac_per_item"],
        }
        for name, row in earlier["stages"].items()
        if name != "a window, whole"
    ]
    found = {
        "weights": earlier["weights_mib"] * MIB,
        "encoding": 0,
        "category": 0,
        "masks": host["bytes of a mask"],
        "device_category": 0,
        "device_image": image["peak_mib"] * MIB,
        "host_cache": 0,
    }
    return {"stages": [*rows, *host_stages()], "sizes": found, "anchors": 0}


def measured_rows(full: Row, host: Row) -> list[Row]:
    """Return what was measured, as rows of :class:`ovdiff.planning.costs.Measurement`."""
    found = []
    for preset, parts in full.items():
        for part, timed in parts.items():
            if part.startswith("seconds on "):
                found += list(_timed(preset, part.removeprefix("seconds on "), timed))
    presets = [*full, "odise"]
    for stage, seconds in host["seconds"].items():
        row = {"stage": stage, "device": host["device"], "seconds": seconds, "source": "host_cost.json"}
        found += [{**row, "preset": preset} for preset in presets]
    for stage, seconds in host["tinyworld seconds"].items():
        row = {"stage": stage, "device": host["device"], "seconds": seconds, "source": "host_cost.json"}
        found.append({**row, "preset": "tinyworld"})
    return found


def _timed(preset: str, device: str, timed: Row) -> Iterator[Row]:
    where = timed["machine"] if device == "cuda" else f"{device}: {timed['machine']}"
    for name, row in timed["stages"].items():
        said = {"preset": preset, "device": where, "seconds": row["seconds_per_item"], "source": "full_size_cost.json"}
        yield {"stage": name, **said}
        if name == "CLIP image embedding":
            yield {"stage": "CLIP's look at parts", **said}


def tinyworld_costs(host: Row) -> Row:
    """Return the embedded models' two stages, whole: their parts are too short to be planned with."""
    preset = load_preset("tinyworld")
    rows = [
        {"name": "a category, whole", "part": "category", "items": 1, "item": "category"},
        {"name": "encoding an image", "part": "encode", "items": 1},
        {"name": "labelling an image", "part": "label", "items": 1},
    ]
    return {"stages": rows, "sizes": host["tinyworld bytes"], "anchors": len(preset.anchors.prototypes)}


def costs(earlier: Row, *, trace: bool) -> Row:
    """Return all that the package ships; without ``trace`` the stages of full size are kept as they are."""
    full = json.loads((RESULTS / "full_size_cost.json").read_text("utf-8"))
    host = json.loads((RESULTS / "host_cost.json").read_text("utf-8"))
    found = {}
    for name in FULL_SIZE:
        preset = load_preset(name)
        known = [row for row in earlier.get("presets", {}).get(name, {}).get("stages", []) if "flops" in row]
        rows = list(traced_stages(preset)) if trace else known + _maskcut(preset)
        rows = [with_precision(preset, row) if "flops" in row else row for row in rows]
        prepared = {"stages": [*rows, *host_stages()], "sizes": sizes(preset, full[name], host)}
        found[name] = {**prepared, "anchors": len(preset.anchors.prototypes)}
    odise = load_any_preset("odise")
    assert isinstance(odise, OdisePreset)
    found["odise"] = odise_costs(json.loads((RESULTS / "odise_cost.json").read_text("utf-8")), odise, host)
    found["tinyworld"] = tinyworld_costs(host)
    speeds = full["fast"]["seconds on cpu"]
    rates = {precision: 2 * speeds["gmac_per_s"][precision] / 1000 for precision in ("half", "float32")}
    cpu = {**rates, "device": f"cpu: {speeds['machine']}"}
    return {"vocabulary": CATEGORIES, "cpu": cpu, "presets": found, "measured": measured_rows(full, host)}


def with_precision(preset: Preset, row: Row) -> Row:
    """Return a stage with the precision of its matrix products: that of the model, but some are float32 in any case."""
    known = stages(preset).get(row["name"])
    model = next((name for name in ("clip", "dino") if row["name"].lower().startswith(f"{name} ")), None)
    model = "clip" if row["name"].startswith("CLIP's") else model
    dtype = preset.models.all_given()[model].dtype if model else "float16"
    in_float32 = (known is not None and known.float32) or dtype == "float32"
    return {**row, "precision": "float32" if in_float32 else "half"}


def _maskcut(preset: Preset) -> list[Row]:
    is_used = preset.proposals.source == "maskcut"
    return [_on_core("MaskCut's cuts", "category", preset.generation.images)] * is_used


def main() -> None:
    """Write what the package ships."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", action="store_true", help="trace nothing; take in what was measured since")
    options = parser.parse_args()
    torch.set_num_threads(1)
    earlier = json.loads(OUT.read_text("utf-8")) if OUT.is_file() else {}
    OUT.write_text(json.dumps(costs(earlier, trace=not options.seconds), indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
