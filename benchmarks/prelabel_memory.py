"""Resident memory of `ovdiff prelabel` over a large project.

    python -m benchmarks.prelabel_memory [--tasks 10000] [--out FILE]

Starts a small server in Label Studio's place, and the command in a process of its own. Of 100 images 99 have 0.3 MP and
one has 12 MP. All is real but the models: an engine that thresholds brightness stands in their place, so that what is
measured are pages, downloads, decoding, regions and imports. Writes one JSON object: the resident memory (MiB) by tasks
done, the highest in the first tenth and afterwards, and tasks a second. 10,000 tasks took 16 minutes on two busy
cores. Linux only. `results/prelabel_memory.json` has such a run.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.loopback import served
from benchmarks.service_memory import resident_mib
from converters.console import answering
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary

SMALL_WH, LARGE_WH, LARGE_EVERY = (640, 480), (4000, 3000), 100
CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="label" toName="image">'
    '<Label value="dark"/><Label value="bright"/></BrushLabels></View>'
)
_SAMPLES = 40


@cache
def picture(is_large: bool) -> bytes:
    """Return the JPEG of a task."""
    width, height = LARGE_WH if is_large else SMALL_WH
    rows, columns = np.mgrid[:height, :width]
    waves = 127 + 120 * np.sin(rows / height * 20) * np.cos(columns / width * 20)
    buffer = io.BytesIO()
    Image.fromarray(np.repeat(waves.astype(np.uint8)[:, :, None], 3, axis=2)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@dataclass
class Studio:
    """A project of bare tasks, which remembers of predictions only which tasks have one."""

    tasks: int
    done: set[int] = field(default_factory=set)
    twice: int = 0

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> bytes:
        """Return what Label Studio answers."""
        if path.startswith("/data/"):
            return picture(int(Path(path).stem) % LARGE_EVERY == 0)
        if path == "/api/tasks":
            return json.dumps(self._page(json.loads(query["query"][0]), int(query["page_size"][0]))).encode()
        if method == "POST":
            new = [item["task"] for item in body]
            self.twice += len(self.done & set(new))
            self.done |= set(new)
            return json.dumps({"created": len(new)}).encode()
        return json.dumps({"id": 1, "created_at": "2026-11-20T18:41:39Z", "label_config": CONFIG}).encode()

    def _page(self, query: dict[str, Any], size: int) -> dict[str, Any]:
        chosen = query.get("selectedItems", {}).get("included", range(1, self.tasks + 1))
        for item in query["filters"]["items"]:
            if item["operator"] == "greater":
                chosen = [number for number in chosen if number > item["value"]]
            else:
                chosen = [number for number in chosen if number in self.done]
        return {"tasks": [self._task(number) for number in chosen[:size]], "total": len(chosen)}

    def _task(self, number: int) -> dict[str, Any]:
        counts = {"total_predictions": int(number in self.done), "total_annotations": 0}
        return {"id": number, "data": {"image": f"/data/{number}.jpg"}, **counts}


def serving(studio: Studio) -> AbstractContextManager[str]:
    """Serve the project, for as long as the block lasts; give the address."""

    def answer(method: str, path: str, sent: Any) -> bytes:
        parts = urlsplit(path)
        return studio.answer(method, parts.path, parse_qs(parts.query), sent)

    return served(answer)


@dataclass(frozen=True)
class _Preset:
    name: str = "brightness"
    engine: str = "brightness"


class Brightness:
    """An engine that needs no models: a pixel is dark, bright, or neither."""

    preset = _Preset()

    def category_key(self, category: Category) -> str:
        """Return a key."""
        return category.name

    def has(self, category: Category) -> bool:
        """Say that all is prepared."""
        return True

    def build(self, category: Category, progress: Callable[[str, float], None] | None = None) -> None:
        """Do nothing."""

    def fingerprint(self) -> str:
        """Return what identifies the engine."""
        return "brightness"

    def segment(self, image: NDArray[np.uint8], vocabulary: Vocabulary) -> Segmentation:
        """Label pixels by the brightness of their first channel."""
        names = vocabulary.names
        labels = np.zeros(image.shape[:2], dtype=np.int32)
        labels[image[:, :, 0] < 80] = names.index("dark") + 1
        labels[image[:, :, 0] > 180] = names.index("bright") + 1
        scores = np.full(labels.shape, 0.5, dtype=np.float32)
        return Segmentation(labels, scores, scores / 2)


def run_command(url: str, folder: Path) -> None:
    """Run the command in this process, as `ovdiff prelabel --project 1 --json` would."""
    from backend.command.prelabel import Wishes, prelabel_project
    from backend.serving.heap import freed_memory_given_back
    from backend.settings import LabelStudioSettings, Settings

    settings = Settings(data_dir=folder, label_studio=LabelStudioSettings(url=url, api_key="0" * 40))
    with freed_memory_given_back(), answering(as_json=True):
        prelabel_project(Wishes(1), settings, Brightness())


def measure(tasks: int) -> dict[str, Any]:
    """Run the command over a project of so many tasks, and return what its memory did."""
    studio, samples = Studio(tasks), list[tuple[int, float]]()
    with tempfile.TemporaryDirectory() as folder, serving(studio) as url:
        command = [sys.executable, "-m", "benchmarks.prelabel_memory", "--child", url, folder]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        started_s = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
            while process.poll() is None:
                time.sleep(0.2)
                with contextlib.suppress(AssertionError, OSError):  # it has just ended, and has no memory any more
                    samples.append((len(studio.done), resident_mib(process.pid)))
            printed = process.stdout.read() if process.stdout else ""
        seconds = time.monotonic() - started_s
    return summary(samples, tasks) | {
        "predicted": json.loads(printed)["predicted"],
        "stored_twice": studio.twice,
        "tasks_a_second": round(tasks / seconds, 1),
    }


def summary(samples: Sequence[tuple[int, float]], tasks: int) -> dict[str, Any]:
    """Return the memory by tasks done.

    Args:
        samples: the tasks done, and the resident memory (MiB) then.
        tasks: how many there are.
    """
    begun = [(done, mib) for done, mib in samples if done]
    first = [mib for done, mib in begun if done <= tasks / 10]
    rest = [mib for done, mib in begun if done > tasks / 10]
    step = max(1, tasks // _SAMPLES)
    curve: dict[int, float] = {}
    for done, mib in begun:
        curve[done // step * step] = max(mib, curve.get(done // step * step, 0.0))
    return {
        "tasks": tasks,
        "highest_mib_in_the_first_tenth": round(max(first, default=0.0)),
        "highest_mib_afterwards": round(max(rest, default=0.0)),
        "highest_mib_by_tasks_done": {done: round(mib) for done, mib in sorted(curve.items())},
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--out", type=Path, help="the JSON file to write (default: the screen)")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_command(options.child[0], Path(options.child[1]))
        return
    text = json.dumps(measure(options.tasks), indent=2)
    if options.out:
        options.out.write_text(text + "\n", "utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
