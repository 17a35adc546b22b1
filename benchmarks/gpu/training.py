"""The drawn world's models, trained for so many minutes altogether, in as many calls as that takes.

A lent GPU has minutes, and how many steps these are is not known before: so each training has a share of the minutes,
and its learning rate falls by that clock. The weights are exported after every call, of whatever has a checkpoint, and
packed into parts of a size that can be carried. To unpack and to use them::

    cat weights.tar.* | tar x -C ovdiff/tinyworld
"""

import dataclasses
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from unittest import mock

import torch

from benchmarks.gpu.context import Context, Results
from ovdiff.tinyworld.training import autoencoder, clip, data, diffusion, dino, export
from ovdiff.tinyworld.training.loop import PausedError, Place

SHARES = {
    "vae": 0.07,
    "vae_second": 0.05,
    "diffusion": 0.2,
    "diffusion_second": 0.15,
    "diffusion_third": 0.23,
    "clip": 0.1,
    "clip_second": 0.12,
    "dino": 0.08,
}
"""Of the minutes, by the trainings' names; about as on the processor where the published weights were made."""

PART_MIB = 15
_TRAINERS = (autoencoder, diffusion, clip, dino)
_RENDERING_PROCESSES = 16
_EXPORT_S = 15.0


def train_drawn_world(context: Context) -> Results:
    """Go on with the trainings until they or the call's time end; export and pack what there is."""
    runs = context.work / "drawn-world"
    seconds = {name: 60 * context.train_minutes * share for name, share in SHARES.items()}
    place = Place(context.device, seconds, context.deadline - _EXPORT_S)
    paused = None
    with _sizes(context.tiny):
        _render(runs, context.tiny)
        try:
            for trainer in _TRAINERS:
                trainer.main(runs, place)
        except PausedError as error:
            paused = str(error)
        export.main(runs, runs / "weights")
    return {
        "minutes": context.train_minutes,
        "finished": paused is None,
        "paused": paused,
        "trainings": {name: _state(runs / f"{name}.pt") for name in SHARES},
        "weights": [part.name for part in pack(runs / "weights", context.out)],
    }


def pack(folder: Path, out: Path, part_mib: float = PART_MIB) -> list[Path]:
    """Write a folder as ``weights.tar.00`` and so on into another; parts of an earlier packing are deleted."""
    for earlier in out.glob("weights.tar.*"):
        earlier.unlink()
    if not folder.is_dir():
        return []
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(folder, "weights")
    held, size, parts = archive.getvalue(), int(part_mib * (1 << 20)), []
    for number, start in enumerate(range(0, len(held), size)):
        parts.append(out / f"weights.tar.{number:02}")
        parts[-1].write_bytes(held[start : start + size])
    return parts


def _render(runs: Path, tiny: bool) -> None:
    """Draw the training sets, before anything is on the device: the processes that draw must not inherit it."""
    processes = min(_RENDERING_PROCESSES, os.cpu_count() or 1)
    count = 24 if tiny else data.COUNT
    if not (runs / "seen.json").exists():
        data.main(runs, count, processes=processes)
    if not (runs / "crowded" / "seen.json").exists():
        data.main(runs / "crowded", clip.CROWDED, things=3, first=data.COUNT, processes=processes)


def _state(checkpoint: Path) -> Results | None:
    if not checkpoint.exists():
        return None
    saved = torch.load(checkpoint, weights_only=True, map_location="cpu", mmap=True)
    return {"steps": saved["step"], "seconds": saved["seconds"]}


@contextmanager
def _sizes(tiny: bool) -> Iterator[None]:
    """Make every training one of two steps of four images, where all is tiny."""
    if not tiny:
        yield
        return
    short = {"batch": 4, "warmup": 1, "checkpoint_every": 2}
    plans: list[tuple[ModuleType, str]] = [
        (module, name)
        for module in _TRAINERS
        for name in ("PLAN", "SECOND_PLAN", "THIRD_PLAN")
        if hasattr(module, name)
    ]
    with mock.patch.object(clip, "CROWDED", 12):
        changed = [
            mock.patch.object(module, name, dataclasses.replace(getattr(module, name), **short))
            for module, name in plans
        ]
        for change in changed:
            change.start()
        try:
            yield
        finally:
            for change in changed:
                change.stop()
