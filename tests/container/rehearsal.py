"""Run the Dockerfile's steps where there is no Docker: in empty Debian systems, by chroot, as root.

    python -m tests.container.rehearsal cpu --runs runs/container --wheels FOLDER --build-arg 'EXTRAS=cpu'
    python -m tests.container.rehearsal cuda --build-arg PYTHON=3.13

Each stage of the Dockerfile gets a Debian of its own, made by debootstrap with Debian's Python in place of the image
`python:3.11-slim`, or `python:3.13-slim`. Then the target's CMD is started as its USER, with its ENV, until its
HEALTHCHECK succeeds; the service is asked for a prediction as Label Studio asks, and a scene is segmented. The target
`cuda` is first started as it is: here is no GPU for it, which the service and `ovdiff doctor` must say. Then its device
is the CPU.

What this leaves open: Docker itself (layers, the base image, volumes), a GPU in a container, and PyTorch's index, if
--wheels stands in for it: then torch's line of the lock is that of the wheel. The services of compose.yaml are
rehearsed by tests/container/compose.py.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.container.asking import ENVIRONMENT, asked
from tests.container.stages import (
    BASES,
    ROOT,
    Rehearsal,
    RehearsalError,
    Stage,
    command_inside,
    context_of,
    copy_tree,
    debian,
    inside,
    run_inside,
)

HEALTHY_WITHIN_S = 300.0
OVDIFF = "/opt/ovdiff/bin/ovdiff"


def without_a_gpu(stage: Stage) -> dict[str, object]:
    """Start the stage's CMD and `ovdiff doctor` as they are, and return what they say of the device."""
    served = run_inside(stage, stage.command, check=False)
    examined = run_inside(stage, [OVDIFF, "doctor", "--json"], check=False).stdout
    device = next(found for found in json.loads(examined)["findings"] if found["name"] == "device")
    return {
        "exit status without a GPU": served.returncode,
        "said without a GPU": served.stderr.strip(),
        "doctor without a GPU": device["state"],
        "doctor's advice": device["advice"],
    }


def serve_and_ask(stage: Stage) -> dict[str, object]:
    """Start the stage's CMD as its user, wait until its HEALTHCHECK succeeds, ask it, and end it as Docker does."""
    begun = time.monotonic()
    line, environment = command_inside(stage, stage.command)
    server = subprocess.Popen(line, env=environment, start_new_session=True)
    try:
        check, _ = command_inside(stage, stage.health)
        while subprocess.run(check, env=environment, capture_output=True, check=False).returncode:
            if server.poll() is not None or time.monotonic() - begun > HEALTHY_WITHIN_S:
                raise RehearsalError(f"The service is not healthy after {time.monotonic() - begun:.0f} s.")
            time.sleep(1)
        found = {"healthy after (s)": round(time.monotonic() - begun, 1), **asked()}
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGTERM)
        status = server.wait(timeout=30)
    return {**found, "exit status after SIGTERM": status}


def contents(stage: Stage) -> dict[str, object]:
    """Return what the image weighs, whether CUDA is in it, as whom it runs, and where that user may write."""
    listed = run_inside(
        stage, ["find", "/opt", "-path", "*/site-packages/nvidia*", "-o", "-name", "libcu*.so*"]
    ).stdout.split()
    size = subprocess.run(
        ["du", "-sm", str(inside(stage.root, "/opt/ovdiff"))], check=True, capture_output=True, text=True
    )
    compiled = run_inside(stage, ["find", "/opt/ovdiff/lib", "-path", "*/torch/*", "-name", "*.pyc"]).stdout.split()
    return {
        "environment (MB)": int(size.stdout.split()[0]),
        "is compiled": bool(compiled),
        "CUDA's files": len(listed),
        "user": run_inside(stage, ["id", "-u"]).stdout.strip(),
        "may write to /data": run_inside(stage, ["touch", "/data/x"], check=False).returncode == 0,
        "may write to /opt": run_inside(stage, ["touch", "/opt/ovdiff/x"], check=False).returncode == 0,
    }


def segmented(stage: Stage) -> dict[str, object]:
    """Segment a scene of the examples in the image, with the embedded models of the second engine."""
    shutil.copy(ROOT / "examples" / "scene.png", inside(stage.root, "/data/scene.png"))
    words = ["--categories", "boat, water, sky", "--preset", "odise_tinyworld", "--out", "/data/found"]
    run_inside(stage, [OVDIFF, "segment", "/data/scene.png", *words])
    return {"segmented": sorted(path.name for path in inside(stage.root, "/data/found").iterdir())}


PROMISED: Mapping[str, object] = {
    "is compiled": True,
    "user": "1000",
    "may write to /data": True,
    "may write to /opt": False,
    "without a password": 401,
    "/health": 200,
    "/setup": 200,
    "/predict": 200,
    "exit status after SIGTERM": 0,
    "segmented": ["scene.overlay.png"],
}
PROMISED_OF: Mapping[str, Mapping[str, object]] = {
    "cpu": {},
    "cuda": {"exit status without a GPU": 2, "doctor without a GPU": "failed"},
}
"""What is promised of each target beside that."""


def wrong(target: str, found: Mapping[str, object]) -> list[str]:
    """Return the names of what is not as the image promises."""
    promised = {**PROMISED, **PROMISED_OF[target]}
    bad = [name for name, value in promised.items() if found[name] != value]
    bad += [name for name in ("regions",) if not found[name]]
    return [*bad, *(["CUDA's files"] if bool(found["CUDA's files"]) != (target == "cuda") else [])]


def rehearsed(stage: Stage, target: str) -> dict[str, object]:
    """Return all that is found of a target's file system."""
    stage.environment |= ENVIRONMENT
    found = contents(stage)
    if target == "cuda":
        found |= without_a_gpu(stage)
        stage.environment["OVDIFF_DEVICE"] = "cpu"
    return found | serve_and_ask(stage) | segmented(stage)


def built(target: str, runs: Path, given: dict[str, str], wheels: Path | None) -> Stage:
    """Run the steps of a target, with build arguments and a folder with a wheel of torch."""
    if wheels:
        given = {**given, "TORCH": "--find-links /wheels"}
        suite = BASES[f"python:{given.get('PYTHON', '3.11')}-slim"]
        copy_tree(wheels, inside(debian(runs, suite), "/wheels"))
    return Rehearsal(context_of(wheels, runs), runs, given).build(target)


def main() -> None:
    """Rehearse a target and print what was found as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("target", choices=list(PROMISED_OF))
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/container"), help="a folder for file systems (%(default)s)"
    )
    parser.add_argument("--wheels", type=Path, help="a folder with a wheel of torch, in place of PyTorch's index")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--built", action="store_true", help="build nothing, ask the file system that is there already")
    options = parser.parse_args()
    runs = options.runs.resolve()
    given = dict(pair.split("=", 1) for pair in options.build_arg)
    try:
        if options.built:
            stage = Rehearsal(ROOT, runs, given, is_built=True).build(options.target)
        else:
            stage = built(options.target, runs, given, options.wheels)
        found = rehearsed(stage, options.target)
    except RehearsalError as error:
        sys.exit(str(error))
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    if bad := wrong(options.target, found):
        sys.exit(f"Not as the image promises: {', '.join(bad)}.")


if __name__ == "__main__":
    main()
