"""What Ray costs and gains on this machine: drawn scenes by one process, by one worker on Ray, and by two.

    python -m benchmarks.ray_scaling [--scenes 200] [--out benchmarks/results/ray_scaling.json]

Takes about four minutes on two idle processors. Everything has one thread. The same function segments each scene in
all three runs. The clock starts when every worker has segmented its first scene: starting Ray and loading models
are told apart. The bars: two workers at least 1.8 times one, and one worker at most 8 % slower than a plain process.
Both need a machine that does nothing else: the load average is written beside them. The plain process also says what
the played cluster of docs/scale.md foretells for the runs on Ray, which were not used for that.
"""

import argparse
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from backend.command.one_image import Done, Segmenting
from backend.command.plan import Job, Wanted
from benchmarks.cluster_simulation import FAST, Setting
from benchmarks.cluster_simulation import Cluster as PlayedCluster
from benchmarks.spreads import markdown_table
from converters.files.atomic import write_whole
from converters.workers import in_order
from ovdiff.bank import Bank
from ovdiff.distributed.cluster import Cluster, connected
from ovdiff.distributed.engine_pool import engine_pool
from ovdiff.distributed.engine_worker import spec_of, use_engine
from ovdiff.distributed.placement import Need, Wish
from ovdiff.distributed.pool import AHEAD
from ovdiff.engines import SegmentationEngine, make_engine
from ovdiff.engines.registry import mapping_to_any_preset
from ovdiff.evaluation.result import machine
from ovdiff.planning import Assumptions
from ovdiff.presets.files import read_preset
from ovdiff.tinyworld.world import render, sample_scene
from ovdiff.vocabulary import Category, Vocabulary

SPEED_UP, OVERHEAD = 1.8, 0.08
"""The bars: two workers against one, and one worker against a plain process."""

WORDS = ("balloon", "sky")
SIZE_PX = 256
PRESET = """base = "tinyworld"
name = "scaling"
anchors = { prototypes = [] }
cache = { disk_mib = 0 }
"""
"""The embedded models; what was encoded is not kept, so that each run encodes every scene."""

Look = Callable[[Sequence[Job]], Sequence[Any]]
Results = Iterator[tuple[Sequence[Job], Sequence[Any]]]


def measure(scenes: int, folder: Path) -> dict[str, Any]:
    """Return the figures.

    Args:
        scenes: how many scenes each run segments after its warm-up.
        folder: an empty folder for the bank and the scenes.
    """
    jobs = drawn_jobs(scenes, folder / "scenes")
    (folder / "scaling.toml").write_text(PRESET)
    bank, vocabulary = Bank(folder / "bank"), Vocabulary(tuple(map(Category, WORDS)))
    engine = make_engine(mapping_to_any_preset(read_preset(folder / "scaling.toml"), "the benchmark"), bank, "cpu")
    for category in vocabulary.categories:
        engine.build(category)
    stages = Segmenting(vocabulary, Wanted(overlay=False), SIZE_PX * SIZE_PX).stages
    load_before = os.getloadavg()[0]
    use_engine(engine)
    runs = {"plain": timed(lambda items: (([job], stages([job])) for job in items), jobs, 1)}
    began_s = time.perf_counter()
    with connected("local", processors=2) as cluster:
        started_s = time.perf_counter() - began_s
        for workers in (1, 2):
            with _mapping(cluster, engine, bank, stages, workers) as mapped:
                runs[f"ray, {workers}"] = timed(mapped, jobs, workers)
    plain, one, two = (runs[name]["seconds"] for name in ("plain", "ray, 1", "ray, 2"))
    for workers in (1, 2):
        runs[f"ray, {workers}"]["foretold"] = foretold_s(plain, scenes, workers)
    return {
        "command": f"python -m benchmarks.ray_scaling --scenes {scenes}",
        "scenes": scenes,
        "runs": runs,
        "two workers against one": round(one / two, 3),
        "overhead of one worker": round(one / plain - 1, 4),
        "bars": {"two workers against one": SPEED_UP, "overhead of one worker": OVERHEAD},
        "same masks": len({run["masks"] for run in runs.values()}) == 1,
        "seconds to start Ray": round(started_s, 1),
        "load average before": round(load_before, 2),
        "load average after": round(os.getloadavg()[0], 2),
        "machine": machine("cpu", 2),
    }


def drawn_jobs(count: int, folder: Path) -> list[Job]:
    """Draw scenes into a folder, and return the jobs of segmenting them; no picture of them is written."""
    folder.mkdir(parents=True)
    jobs = []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.fromarray(render(sample_scene(number, "test"), SIZE_PX).image).save(path)
        jobs.append(Job(path, path.name, None, None))
    return jobs


def timed(mapped: Callable[[Iterable[Job]], Results], jobs: list[Job], workers: int) -> dict[str, Any]:
    """Return the seconds of a run after its warm-up, those of the warm-up, and a hash of all masks."""
    began_s = time.perf_counter()
    for _ in mapped(jobs[:1] * workers * AHEAD):  # every worker loads its models
        pass
    ready_s = time.perf_counter()
    digest = hashlib.sha256()
    for (job,), (done,) in mapped(jobs):
        if not isinstance(done, Done):
            raise SystemExit(f"{job.name}: {done.why}")
        digest.update(json.dumps(done.coco.dataset(), sort_keys=True, default=str).encode())
    seconds = time.perf_counter() - ready_s
    return {"seconds": round(seconds, 2), "warm-up": round(ready_s - began_s, 2), "masks": digest.hexdigest()[:16]}


def foretold_s(plain_s: float, scenes: int, workers: int) -> float:
    """Return the seconds of a run whose workers are ready, as the played cluster tells it from a plain process's."""
    load = replace(
        FAST, images=scenes, categories=0, weights=0, device_s=plain_s / scenes, before_s=0, after_s=0, bytes_in=0,
        bytes_out=0,
    )  # fmt: skip
    assumed = Assumptions(
        start_s=0, batch_images=1, slow_share=0, batch_spread=0, failures_per_gpu_hour=0, requests_per_s=1e9
    )
    return round(PlayedCluster(Setting("local", load, workers, assumed), 0).play().images_s, 2)


def table(results: Any) -> str:
    """Return the runs as Markdown."""
    names = {"plain": "one process, no Ray", "ray, 1": "one worker on Ray", "ray, 2": "two workers on Ray"}
    rows = []
    for name, run in results["runs"].items():
        told = run.get("foretold")
        quotient = f"{told / run['seconds']:.2f}" if told else "–"
        foretold_text = f"{told:.1f}" if told else "–"
        rows.append([names[name], f"{run['seconds']:.1f}", f"{run['warm-up']:.1f}", foretold_text, quotient])
    head = ["", "s", "warm-up, s", "foretold, s", "foretold / took"]
    bars, masks = results["bars"], "the same masks" if results["same masks"] else "OTHER MASKS"
    said = (
        f"*{results['scenes']} drawn scenes, one thread each; {masks} in all runs. Two workers are "
        f"{results['two workers against one']:.2f} times as quick as one (bar: {bars['two workers against one']}); "
        f"one takes {1 + results['overhead of one worker']:.2f} of a plain process's time (bar: "
        f"{1 + bars['overhead of one worker']:.2f}). Load average: {results['load average before']} before, "
        f"{results['load average after']} after; {results['machine']['processor']}, 2 cores.*"
    )
    return f"{markdown_table(head, rows)}\n\n{said}"


@contextmanager
def _mapping(
    cluster: Cluster, engine: SegmentationEngine, bank: Bank, look: Look, workers: int
) -> Iterator[Callable[[Iterable[Job]], Results]]:
    spec = spec_of(engine, bank, "cpu")
    with engine_pool(cluster, spec, Need("cpu"), Wish(workers), loads=True) as pool:
        yield lambda items: in_order(partial(pool.submit, look), ([job] for job in items), workers * AHEAD)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/ray_scaling.json"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options.scenes, Path(folder))
    write_whole(options.out, (json.dumps(found, indent=1) + "\n").encode())
    for name, value in found.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
