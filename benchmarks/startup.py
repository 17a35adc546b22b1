"""Where the seconds of a command's start go: processor seconds of the imports, each step in order, in a fresh process.

    python -m benchmarks.startup --before CHECKOUT --out benchmarks/results/startup.json     # 1 minute

``--before`` names another checkout, such as a git worktree of an earlier commit, which is measured in turns with this
one. Processor seconds are lengthened little by other work on the machine. The first run of each fills the file cache
and is not counted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.spreads import markdown_table, write_results

STEPS = {
    "Python and the command's arguments": "import backend.command.cli",
    "torch": "import torch",
    "an engine of ovdiff": "import ovdiff.engine",
    "DINOv2 and CLIP, as `fast` segments": "import ovdiff.extractors.dinov2, ovdiff.extractors.clip, open_clip\n"
    "from transformers import Dinov2Model",
    "Stable Diffusion, as `tinyworld` and `paper` segment": "from ovdiff.extractors import stable_diffusion\n"
    "from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel\n"
    "from transformers import CLIPTextModel",
}
"""What is imported, in this order, by what a person would call it."""

ROOT = Path(__file__).parents[1]


def seconds_of_steps(root: Path) -> list[float]:
    """Return the processor seconds of each step in a fresh process of a checkout."""
    lines = ["import json, time", "times = [0.0]"]
    for step in STEPS.values():
        lines += [step, "times.append(time.process_time())"]
    lines.append("print(json.dumps(times))")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    program = [sys.executable, "-c", "\n".join(lines)]
    run = subprocess.run(program, cwd=root, env=environment, capture_output=True, text=True, check=True)
    times = json.loads(run.stdout.splitlines()[-1])
    return [after - before for before, after in pairwise(times)]


def measure(checkouts: dict[str, Path], repeats: int) -> dict[str, Any]:
    """Return the median seconds of each step of each checkout, measured in turns."""
    times: dict[str, list[list[float]]] = {name: [] for name in checkouts}
    for _ in range(repeats + 1):
        for name, root in checkouts.items():
            times[name].append(seconds_of_steps(root))
    found = {
        name: [statistics.median(of_step) for of_step in zip(*runs[1:], strict=True)] for name, runs in times.items()
    }
    return {"steps": list(STEPS), "seconds": found, "repeats": repeats, "load_average": os.getloadavg()[0]}


def table(results: Any) -> str:
    """Return the steps as Markdown."""
    names = list(results["seconds"])
    head = ["imported, in this order", *(f"{name}, s" for name in names)]
    rows = [
        [step, *(f"{results['seconds'][name][index]:.2f}" for name in names)]
        for index, step in enumerate(results["steps"])
    ]
    rows.append(["all", *(f"{sum(results['seconds'][name]):.2f}" for name in names)])
    said = (
        f"*Processor seconds of one thread, the median of {results['repeats']} runs. The load average of the two cores "
        f"was {results['load_average']:.1f}.*"
    )
    return f"{markdown_table(head, rows)}\n\n{said}"


def main() -> None:
    """Measure, print the table and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, help="another checkout")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    checkouts = {"before": options.before.absolute()} if options.before else {}
    results = measure({**checkouts, "now": ROOT}, options.repeats)
    print(table(results))
    if options.out:
        write_results(options.out, results)


if __name__ == "__main__":
    main()
