"""Do real runs take what the played cluster takes? `ovdiff evaluate` on drawn scenes with one and two workers.

    python -m benchmarks.local_runs --out benchmarks/results/local_runs.json      # 2 minutes of an idle machine

A worker is a process of one thread. What the model is given is measured apart from what it foretells: the seconds until
a worker has answered its first scene, from runs of few scenes, and those of one more scene, from one worker's run of
more. What it foretells are other runs: more scenes on one worker, and the same on two.

Seconds are the processor's, so other work on the machine lengthens them little: those of the command and those of its
longest worker, which is what a machine with a core for each would take.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.cluster_simulation import FAST, Cluster, Setting
from benchmarks.cost_seconds import machine
from benchmarks.spreads import markdown_table, write_results
from ovdiff.planning import Assumptions
from ovdiff.planning.throughput import duration

FEW, MORE, FORETOLD = 2, 24, 40
_LOOK_S = 0.1


def run(scenes: int, workers: int, bank: Path) -> float:
    """Return the processor seconds of one evaluation: of the command, and of the longest of its workers."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["evaluate", "drawn", "--preset", "tinyworld", "--limit", str(scenes), "--workers", str(workers)]
        command += ["--bank", str(bank), "--out", str(Path(folder, "out")), "--quiet"]
        process = subprocess.Popen(
            [sys.executable, "-m", "backend.command.cli", *command],
            env={**os.environ, "OMP_NUM_THREADS": "1", "OVDIFF_DATA_DIR": folder},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        seconds: dict[int, float] = {}
        while process.poll() is None:
            seconds |= _processor_seconds(process.pid)
            time.sleep(_LOOK_S)
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, command)
    own = seconds.pop(process.pid)
    return own + max(seconds.values(), default=0.0)


def _processor_seconds(session: int) -> dict[int, float]:
    """Return the processor seconds of each living process of a session, by its number."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                found[int(stat.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def foretold(scenes: int, workers: int, start_s: float, scene_s: float) -> dict[str, float]:
    """Return the seconds by the closed formula and by the played cluster."""
    load = replace(
        FAST, images=scenes, categories=0, weights=0, device_s=scene_s, before_s=0, after_s=0, bytes_in=0, bytes_out=0
    )
    assumed = Assumptions(
        start_s=start_s, batch_images=1, slow_share=0, batch_spread=0, failures_per_gpu_hour=0, requests_per_s=1e9
    )
    played = Cluster(Setting("local", load, workers, assumed), 0).play()
    return {"formula_s": duration(load, workers, assumed).seconds, "simulated_s": start_s + played.images_s}


def measure(repeats: int) -> dict[str, Any]:
    """Run evaluations in turns and lay what was foretold beside them."""
    with tempfile.TemporaryDirectory() as folder:
        bank = Path(folder, "bank")
        run(1, 1, bank)  # makes the prototypes
        times: dict[tuple[int, int], list[float]] = {}
        for _ in range(repeats):
            for wanted in ((FEW, 1), (MORE, 1), (FEW, 2), (FORETOLD, 1), (FORETOLD, 2)):
                times.setdefault(wanted, []).append(run(*wanted, bank))
    least = {wanted: min(found) for wanted, found in times.items()}  # what others lengthen least
    scene_s = (least[MORE, 1] - least[FEW, 1]) / (MORE - FEW)
    rows = []
    for workers in (1, 2):
        start_s = least[FEW, workers] - FEW * scene_s / workers
        told, took = foretold(FORETOLD, workers, start_s, scene_s), least[FORETOLD, workers]
        rows.append(
            {"workers": workers, "start_s": start_s, "took_s": took, "of_each_run_s": times[FORETOLD, workers], **told}
        )
    return {
        "machine": machine("cpu"),
        "load_average": os.getloadavg()[0],
        "scenes": FORETOLD,
        "scene_s": scene_s,
        "repeats": repeats,
        "rows": rows,
    }


def table(results: Any) -> str:
    """Return the runs as Markdown."""
    head = ["workers", "start, s", "took, s", "formula, s", "simulated, s", "simulated / took"]
    rows = [
        [
            str(row["workers"]),
            *(f"{row[name]:.1f}" for name in ("start_s", "took_s", "formula_s", "simulated_s")),
            f"{row['simulated_s'] / row['took_s']:.2f}",
        ]
        for row in results["rows"]
    ]
    said = (
        f"*`ovdiff evaluate drawn --preset tinyworld --limit {results['scenes']}`, {results['scene_s']:.2f} processor "
        f"seconds a scene, the least of {results['repeats']} runs; {results['machine']}. "
        f"The load average of the two cores was "
        f"{results['load_average']:.1f}, and other work ran beside it.*"
    )
    return f"{markdown_table(head, rows)}\n\n{said}"


def main() -> None:
    """Measure, print the table and write the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--out", type=Path, help="JSON")
    options = parser.parse_args()
    results = measure(options.repeats)
    print(table(results))
    if options.out:
        write_results(options.out, results)


if __name__ == "__main__":
    main()
