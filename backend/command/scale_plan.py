"""`ovdiff plan`: what many images cost, as text for people and as JSON. Never imports torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from backend.command.console import say
from backend.command.table import table
from converters.console import answer
from ovdiff.planning import Asked, Estimate, estimate
from ovdiff.planning.costs import Measurement
from ovdiff.planning.plan import Caching
from ovdiff.planning.throughput import Duration

GUESSED = "~"
"""Stands before every figure that rests on something that was not measured on the device."""


def tell_plan(asked: Asked, measured: Sequence[Measurement], *, assumptions: bool) -> None:
    """Print what a run costs.

    Args:
        asked: the run.
        measured: measurements, the ones to believe first.
        assumptions: whether to list what is supposed.

    Raises:
        PlanError: a preset, a device or a number is wrong.
    """
    found = estimate(asked, measured)
    answer(as_json(found))
    for line in lines(found):
        say(line)
    if assumptions:
        say("\nSupposed:")
        rows = [
            (row["name"], f"{row['value']:.4g}", row["unit"], row["origin"], row["reason"]) for row in _supposed(found)
        ]
        say(table(rows, right=(1,)))


def as_json(found: Estimate) -> dict[str, Any]:
    """Return the plan for programs; every group of figures says what it rests on."""
    asked = found.asked
    return {
        "images": asked.images,
        "categories": asked.categories,
        "preset": asked.preset,
        "device": asked.device,
        "devices": asked.count,
        "basis": found.basis,
        "notes": found.notes,
        "seconds_of_category": found.load.category_s,
        "seconds_of_image": found.load.device_s,
        **_duration(found.duration),
        "useful_devices": found.useful,
        "at_sizes": [_duration(each) for each in found.at_sizes],
        "bytes": {
            "images_read": found.bytes.images_read,
            "weights_read": found.bytes.weights_read,
            "masks_written": found.bytes.masks_written,
            "categories_written": found.bytes.categories_written,
            "features_written": found.bytes.features_written,
            "moved": found.bytes.moved,
            "kept": found.bytes.kept,
            "basis": "counted and assumed",
        },
        "memory_bytes": {
            "device": found.memory.device,
            "node": found.memory.node,
            "fits": found.memory.fits,
            "basis": "device: traced without one; node: assumed",
        },
        "caching": None if found.caching is None else _caching_json(found.caching),
        "stages": [
            {
                "stage": each.stage.name,
                "part": each.stage.part,
                "runs_on": each.stage.runs_on,
                "items": each.stage.items,
                "seconds_per_item": each.seconds,
                "basis": each.basis,
                "source": each.source,
            }
            for each in found.stages
        ],
        "assumptions": _supposed(found),
    }


def lines(found: Estimate) -> Iterator[str]:
    """Yield the plan for people."""
    asked, mark = found.asked, _mark(found)
    words = f"{asked.categories:,} categories"
    yield f"{asked.images:,.0f} images, {words}, preset {asked.preset}, {asked.count:,} x {asked.device}"
    yield from (f"! {note}" for note in found.notes)
    if mark:
        yield f"{GUESSED} stands before figures that are extrapolated, not measured. The cluster itself is supposed."
    run = found.duration
    yield ""
    yield f"{mark}{hours(run.seconds)} in all, {mark}{run.gpu_hours:,.1f} device hours; it waits for: {run.bottleneck}"
    yield (
        f"  start ~{run.start_s:,.0f} s, categories {mark}{hours(run.categories_s)} ({mark}{found.load.category_s:.3g} "
        f"s each on one device), images {mark}{hours(run.images_s)} ({mark}{found.load.device_s:.3g} s each)"
    )
    if found.useful < asked.count:
        yield f"  {mark}{found.useful:,} devices would be as quick: the rest wait for the {run.bottleneck}"
    yield ""
    yield from _sizes(found, mark)
    yield ""
    yield from _bytes(found)
    if found.caching is not None:
        yield ""
        yield from _caching(found.caching, mark)
    yield ""
    yield "Where a device's time goes:"
    yield table(list(_stages(found)), right=(1, 2, 3))


def hours(seconds: float) -> str:
    """Return a duration in the unit that fits."""
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:,.1f} h"


def amount(count: float) -> str:
    """Return bytes in the unit that fits, such as "1.5 TB"; units are powers of 1,000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} PB"


def _mark(found: Estimate) -> str:
    return "" if found.basis == "measured" else GUESSED


def _sizes(found: Estimate, mark: str) -> Iterator[str]:
    head = ("devices", "time", "device hours", "images/s", "waits for")
    rows = [
        (
            f"{each.gpus:,}",
            mark + hours(each.seconds),
            f"{mark}{each.gpu_hours:,.1f}",
            f"{mark}{each.images_per_s:,.3g}" if each.images_per_s < 1000 else f"{mark}{each.images_per_s:,.0f}",
            each.bottleneck,
        )
        for each in found.at_sizes
    ]
    yield table([head, *rows], right=(0, 1, 2, 3))


def _bytes(found: Estimate) -> Iterator[str]:
    moved, memory = found.bytes, found.memory
    yield (
        f"Moved {GUESSED}{amount(moved.moved)}: images {amount(moved.images_read)}, weights "
        f"{amount(moved.weights_read)}, and what is kept"
    )
    kept = f"masks {amount(moved.masks_written)}, categories {amount(moved.categories_written)}"
    features = f", features {amount(moved.features_written)}" if moved.features_written else ""
    yield f"Kept {GUESSED}{amount(moved.kept)}: {kept}{features}"
    device = f"{amount(memory.device)} of each device (traced without one), " if memory.device else ""
    yield f"Memory: {device}{GUESSED}{amount(memory.node)} of each node"
    if not memory.fits:
        yield "! The device's memory is too small for it."


def _caching(caching: Caching, mark: str) -> Iterator[str]:
    saved = caching.edit_anew.gpu_hours - caching.edit.gpu_hours
    more = caching.first.seconds - caching.first_without.seconds
    first = mark + hours(max(0.0, more))
    yield f"Keeping the features of all images takes {amount(caching.kept)}, and {first} more at first."
    read, anew = (mark + hours(each.seconds) for each in (caching.edit, caching.edit_anew))
    difference = f"{mark}{abs(saved):,.1f} device hours {'less' if saved >= 0 else 'more'}"
    yield f"One more word then takes {read} instead of {anew}, {difference}; it waits for: {caching.edit.bottleneck}."
    verdict = "It pays" if caching.pays else "It does not pay"
    even = f"{mark}{caching.pays_from_gbit:.3g} Gbit/s"
    yield f"{verdict}: reading is quicker than encoding anew where a node reads more than {even}."


def _stages(found: Estimate) -> Iterator[tuple[str, ...]]:
    yield "stage", "items", "s an item", "s in all", "of", "basis"
    for each in found.stages:
        place = "a category" if each.stage.part == "category" else "an image"
        where = "" if each.stage.runs_on == "device" else ", on a core"
        numbers = f"{each.stage.items:g}", f"{each.seconds:.3g}", f"{each.of_all:.3g}"
        yield each.stage.name, *numbers, place + where, each.basis


def _duration(each: Duration) -> dict[str, Any]:
    return {
        "gpus": each.gpus,
        "hours": each.seconds / 3600,
        "gpu_hours": each.gpu_hours,
        "start_s": each.start_s,
        "categories_s": each.categories_s,
        "images_s": each.images_s,
        "images_per_s": each.images_per_s,
        "bottleneck": each.bottleneck,
        "capacities_images_per_s": each.capacities,
    }


def _caching_json(caching: Caching) -> dict[str, Any]:
    return {
        "kept_bytes": caching.kept,
        "edit_hours": caching.edit.seconds / 3600,
        "edit_hours_without": caching.edit_anew.seconds / 3600,
        "edit_gpu_hours_saved": caching.edit_anew.gpu_hours - caching.edit.gpu_hours,
        "edit_bottleneck": caching.edit.bottleneck,
        "first_run_hours_more": (caching.first.seconds - caching.first_without.seconds) / 3600,
        "pays": caching.pays,
        "pays_from_network_gbit": caching.pays_from_gbit,
    }


def _supposed(found: Estimate) -> list[dict[str, Any]]:
    return found.asked.assumed.rows()
