"""Resident memory of the service over many predictions of images of mixed sizes.

    python -m benchmarks.service_memory [--predictions 2000] [--clients 8] [--folder DIR] [--out FILE]

Starts `ovdiff serve` with the embedded models in a process of its own, and a server of drawn scenes in Label Studio's
place: of 20 images 17 have 0.3 MP, two 2 MP and one 12 MP, and no two are alike. Some clients then ask for one
prediction at a time. Writes one JSON object: the resident memory (MiB) before the first prediction, while they run,
the highest, and at the end; seconds a prediction by size (the median of what clients waited); and the machine.
`--folder` keeps the prototypes for the next run, `--env` sets a variable of the service. Linux only. 2,000 predictions
take 20 to 50 minutes on two cores; Ctrl-C ends them earlier, and counts what was done. `results/service_memory.json`
has a run before large images took turns and freed memory went back, and three since; the last has all 2,000.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import requests
from PIL import Image

from benchmarks.loopback import served
from ovdiff.tinyworld.world import render, sample_scene

PROJECT = "1.1795200099"
LABELS = ("ball", "tree", "sky", "grass")
SIZES_WH = ((512, 512), (1440, 1440), (3464, 3464))
KINDS = 20  # the sizes come again after so many images: 17 small, 2 medium, 1 large
CONFIG = (
    '<View><Image name="image" value="$image"/><BrushLabels name="label" toName="image">'
    + "".join(f'<Label value="{name}"/>' for name in LABELS)
    + "</BrushLabels></View>"
)
_SCENES = 12
_SAMPLE_S = 0.5


def size_of(number: int) -> tuple[int, int]:
    """Return the width and height of the image of a task."""
    place = number % KINDS
    return SIZES_WH[2] if place == 19 else SIZES_WH[1] if place in (6, 13) else SIZES_WH[0]


def picture(number: int) -> bytes:
    """Return the image of a task as a JPEG; its content is that of no other task."""
    pixels = _scene(number % _SCENES, size_of(number)).copy()
    pixels[:16, :16] = np.random.default_rng(number).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@cache
def _scene(index: int, size_wh: tuple[int, int]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    drawn = Image.fromarray(render(sample_scene(index, "test", things=3), 512).image)
    return np.asarray(drawn.resize(size_wh))


def images_served() -> AbstractContextManager[str]:
    """Serve the images where Label Studio would serve uploads, for as long as the block lasts; give the address."""
    return served(lambda method, path, sent: picture(int(Path(path).stem.rpartition("-")[2])))


@contextmanager
def service(folder: Path, label_studio: str, variables: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Run the service until the block ends; yield its address and its process id once it is ready to predict."""
    port = 20_000 + os.getpid() % 20_000
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "OMP_NUM_THREADS": "1",
        "OVDIFF_DATA_DIR": str(folder),
        "OVDIFF_PORT": str(port),
        "OVDIFF_IMAGE_TIMEOUT_S": "60",
        "LABEL_STUDIO_URL": label_studio,
        **dict(variable.split("=", 1) for variable in variables),
    }
    command = [sys.executable, "-m", "backend.command.cli", "serve"]
    url = f"http://127.0.0.1:{port}"
    with (folder / "service.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            _wait(lambda: requests.get(f"{url}/health", timeout=5).ok, process)
            requests.post(f"{url}/setup", json={"project": PROJECT, "schema": CONFIG}, timeout=60).raise_for_status()
            _wait(lambda: _ready(url), process)
            yield url, process.pid
        finally:
            process.terminate()
            process.wait()


def _ready(url: str) -> bool:
    categories = requests.get(f"{url}/status", timeout=60).json()["projects"][PROJECT]["categories"]
    return all(category["state"] == "ready" for category in categories)


def _wait(is_so: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            if is_so():
                return
        except requests.RequestException:
            pass
        time.sleep(0.3)
    raise SystemExit("The service ended; its log is service.log in the folder.")


def resident_mib(process_id: int) -> float:
    """Return the resident memory of a process."""
    status = Path(f"/proc/{process_id}/status").read_text("ascii")
    found = re.search(r"VmRSS:\s*(\d+) kB", status)
    assert found, "Linux says VmRSS of every process that lives"
    return int(found[1]) / 1024


def predict(url: str, number: int) -> tuple[float, bool]:
    """Ask for one prediction; return the seconds, and whether there was one."""
    task = {"id": number + 1, "data": {"image": f"/data/upload/1/{number}.jpg"}}
    body = {"tasks": [task], "project": PROJECT, "label_config": CONFIG, "params": {"context": None}}
    start = time.perf_counter()
    response = requests.post(f"{url}/predict", json=body, timeout=300)
    seconds = time.perf_counter() - start
    return seconds, response.ok and "result" in response.json()["results"][0]


def measure(predictions: int, clients: int, folder: Path, variables: Sequence[str]) -> dict[str, Any]:
    """Run the service and its clients."""
    done: list[tuple[int, float, bool]] = []
    samples: list[tuple[int, float]] = []
    with images_served() as label_studio, service(folder, label_studio, variables) as (url, process_id):
        start_mib = resident_mib(process_id)
        over = threading.Event()

        def sample() -> None:
            while not over.wait(_SAMPLE_S):
                samples.append((len(done), resident_mib(process_id)))

        sampling = threading.Thread(target=sample)
        sampling.start()
        started_s = time.perf_counter()
        pool = ThreadPoolExecutor(clients)
        with contextlib.suppress(KeyboardInterrupt):  # what was measured so far counts
            for number, (seconds, good) in enumerate(pool.map(lambda n: predict(url, n), range(predictions))):
                done.append((number, seconds, good))
        pool.shutdown(cancel_futures=True)
        took_s = time.perf_counter() - started_s
        time.sleep(2.0)
        end_mib = resident_mib(process_id)
        over.set()
        sampling.join()
    return summary(done, samples, start_mib, end_mib) | {
        "minutes": round(took_s / 60, 1),
        "clients": clients,
        "variables": list(variables),
        "machine": machine(),
    }


def summary(
    done: Sequence[tuple[int, float, bool]], samples: Sequence[tuple[int, float]], start_mib: float, end_mib: float
) -> dict[str, Any]:
    """Say what the predictions and the samples show.

    Args:
        done: the number of each task, the seconds that its client waited, and whether there was a result.
        samples: how many predictions were done, and the resident memory (MiB) then.
        start_mib: the resident memory before the first prediction.
        end_mib: and after the last one.
    """
    step = max(1, len(done) // 20)
    by_size: dict[tuple[int, int], list[float]] = {}
    for number, seconds, _ in done:
        by_size.setdefault(size_of(number), []).append(seconds)
    return {
        "predictions": len(done),
        "without_a_result": sum(not good for *_, good in done),
        "start_mib": round(start_mib),
        "highest_mib": round(max(mib for _, mib in samples)),
        "median_mib": round(statistics.median(mib for _, mib in samples)),
        "end_mib": round(end_mib),
        "mib_by_predictions": {
            first: round(max((mib for count, mib in samples if first <= count < first + step), default=0))
            for first in range(0, len(done), step)
        },
        "median_seconds_by_size": {
            f"{width}x{height}": round(statistics.median(seconds), 2)
            for (width, height), seconds in sorted(by_size.items())
        },
    }


def machine() -> str:
    """Return what this runs on: cores, processor and C library."""
    model = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    return f"{os.cpu_count()} cores, {model[1] if model else platform.machine()}, {platform.libc_ver()[0]}"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--predictions", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--folder", type=Path, help="where the service keeps its data (default: a temporary folder)")
    parser.add_argument("--out", type=Path, help="the JSON file to write (default: the screen)")
    parser.add_argument("--env", action="append", default=[], help="a variable of the service, NAME=VALUE; repeatable")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job would ignore
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(measure(options.predictions, options.clients, folder, options.env), indent=2)
    if options.out:
        options.out.write_text(text + "\n", "utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
