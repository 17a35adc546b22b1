"""The plans that docs/scale.md shows, as `ovdiff plan` tells them.

python -m benchmarks.scale_plans          # writes benchmarks/results/scale_plans.json, at once
python -m benchmarks.measured_tables      # then the page
"""

import argparse
from pathlib import Path
from typing import Any

from backend.command.scale_plan import amount, as_json, hours
from benchmarks.spreads import markdown_table, write_results
from ovdiff.planning import Asked, assume, estimate, measurements

OUT = Path(__file__).parent / "results" / "scale_plans.json"
IMAGES, CATEGORIES, GPUS, PREFIXES = 1_000_000, 171, 8, 16
PRESETS = ("fast", "paper", "odise")
CACHED = (("fast", "2xCPU", 25.0), ("fast", "8xH100", 25.0), ("paper", "8xH100", 25.0), ("paper", "8xH100", 400.0))


def plans() -> dict[str, Any]:
    """Return the plans as the command gives them to programs, with what they were asked."""
    return {
        "presets": {name: _told(name, f"{GPUS}xH100", [f"prefixes={PREFIXES}"]) for name in PRESETS},
        "caching": [
            {"network_gbit": gbit, **_told(name, devices, [f"network_gbit={gbit}"])} for name, devices, gbit in CACHED
        ],
    }


def _told(preset: str, devices: str, assumed: list[str]) -> dict[str, Any]:
    count, _, device = devices.partition("x")
    asked = Asked(IMAGES, CATEGORIES, preset, device, int(count), assume(assumed))
    found = as_json(estimate(asked, measurements()))
    return {key: value for key, value in found.items() if key not in ("assumptions", "stages")}


def plans_table(results: Any) -> str:
    """Return a million images on several numbers of H100 as Markdown."""
    head = ["preset", "H100", "time", "GPU-hours", "images/s", "waits for"]
    rows = [
        [
            f"`{name}`",
            f"{size['gpus']:,}",
            f"~{hours(size['hours'] * 3600)}",
            f"~{size['gpu_hours']:,.0f}",
            f"~{size['images_per_s']:,.0f}",
            size["bottleneck"],
        ]
        for name, plan in results["presets"].items()
        for size in plan["at_sizes"]
    ]
    sizes = ["preset", "moved", "kept", "features, if they are kept", "memory of a GPU", "memory of a node with 8"]
    kept = [
        [
            f"`{name}`",
            f"~{amount(plan['bytes']['moved'])}",
            f"~{amount(plan['bytes']['kept'])}",
            amount(plan["caching"]["kept_bytes"]) if plan["caching"] else "none are",
            amount(plan["memory_bytes"]["device"]),
            f"~{amount(plan['memory_bytes']['node'])}",
        ]
        for name, plan in results["presets"].items()
    ]
    said = (
        f"*{IMAGES:,} images, {CATEGORIES} categories, images in {PREFIXES} folders of a bucket. ~: extrapolated, "
        f"nothing was measured on an H100. Memory of a GPU is traced on the real architectures without one.*"
    )
    return "\n\n".join([markdown_table(head, rows), markdown_table(sizes, kept), said])


def caching_table(results: Any) -> str:
    """Return what stored encodings are worth for one more word as Markdown."""
    head = ["preset", "devices", "network of a node", "kept", "one more word, read", "encoded anew", "it pays from"]
    rows = []
    for plan in results["caching"]:
        cached, mark = plan["caching"], "" if plan["basis"] == "measured" else "~"
        rows.append(
            [
                f"`{plan['preset']}`",
                f"{plan['devices']} x {plan['device']}",
                f"{plan['network_gbit']:g} Gbit/s",
                amount(cached["kept_bytes"]),
                f"{mark}{hours(cached['edit_hours'] * 3600)}",
                f"{mark}{hours(cached['edit_hours_without'] * 3600)}",
                f"{mark}{cached['pays_from_network_gbit']:.3g} Gbit/s",
            ]
        )
    return f"{markdown_table(head, rows)}\n\n*{IMAGES:,} images. ~: extrapolated, at least in part.*"


def main() -> None:
    """Write the plans as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="JSON (default: the file that docs/scale.md shows)")
    write_results(parser.parse_args().out, plans())


if __name__ == "__main__":
    main()
