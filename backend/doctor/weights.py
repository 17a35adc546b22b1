"""The preset and its weights: present, whole, how large, and under which terms."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backend.doctor.findings import Finding
from ovdiff.errors import OVDiffError
from ovdiff.models.files import BUILDING, SEGMENTING, ModelFiles, files_of
from ovdiff.models.licences import weights_licences

CHECKPOINTS = (".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class WeightsSeen:
    """What was seen of a preset's weights.

    Attributes:
        findings: one for each source of weights, and one for the licences.
        here_mb: about how large those are that are here, in millions of bytes.
        missing_mb: about how large those are that must be fetched, as far as that is known.
    """

    findings: tuple[Finding, ...]
    here_mb: int = 0
    missing_mb: int = 0


def look_at_weights(preset: Any, name: str) -> WeightsSeen:
    """Look at the files of every model of a preset. Loads none, and asks no network.

    Args:
        preset: the preset of any engine.
        name: the preset as `ovdiff presets fetch` knows it.
    """
    findings, here, missing = [], set[Path](), 0
    for entry in files_of(preset, *BUILDING, *SEGMENTING):
        paths = list(present(entry))
        here.update(paths)  # two models may read one file
        missing += (entry.megabytes or 0) if entry.missing else 0
        findings.append(_finding(entry, paths, name))
    here_mb = sum(path.stat().st_size for path in here) // 10**6
    return WeightsSeen((*findings, _licences(preset)), here_mb, missing)


def present(entry: ModelFiles) -> Iterator[Path]:
    """Yield the files of a source that are on this machine, of alternatives the first."""
    if entry.place is not None and entry.place.is_file():
        yield entry.place
    elif entry.place is not None:
        for names in entry.needed:
            yield from [path for name in names if (path := entry.place / name).is_file()][:1]


def damage(path: Path) -> str:
    """Say what is wrong with a file of weights; "" if it is whole. Reads no more than its head and its tail."""
    try:
        if path.suffix == ".safetensors":
            from safetensors import SafetensorError, safe_open

            try:
                with safe_open(path, framework="numpy") as file:
                    file.keys()
            except SafetensorError as error:
                return f"is damaged: {error}"
        elif path.suffix == ".json":
            json.loads(path.read_bytes())
        elif path.suffix in CHECKPOINTS:
            return _damage_of_checkpoint(path)
    except (ValueError, RecursionError):
        return "is damaged: it is no JSON"
    return ""


def _damage_of_checkpoint(path: Path) -> str:
    with path.open("rb") as file:
        begins = file.read(2)
    if begins == b"PK" and not zipfile.is_zipfile(path):
        return "is damaged: its end is missing"
    return "" if begins else "is empty"


def _finding(entry: ModelFiles, paths: list[Path], name: str) -> Finding:
    title = f"weights of {', '.join(entry.models)}"
    if entry.missing:
        size = f", about {entry.megabytes} MB" if entry.megabytes else ""
        found = f"{entry.pinned_source}: {', '.join(entry.missing)} missing{size}"
        if "head" in entry.models:
            return Finding(title, "failed", found, "Train a head by `ovdiff odise train`, and set models.head.source.")
        if entry.is_local:
            return Finding(title, "failed", found, f"Correct the source of {entry.models[0]} in the preset {name!r}.")
        advice = f"`ovdiff presets fetch {name}` fetches them now; else they come when they are first needed."
        return Finding(title, "warning", found, advice)
    for path in paths:
        if wrong := damage(path):
            advice = f"Delete it, and `ovdiff presets fetch {name}` fetches it anew; a file of your own: copy it again."
            return Finding(title, "failed", f"{path} {wrong}", advice)
    in_all_mb = sum(path.stat().st_size for path in paths) / 10**6
    return Finding(title, "ok", f"{entry.pinned_source}: {len(paths)} files, {in_all_mb:.0f} MB, whole")


def _licences(preset: Any) -> Finding:
    found = list(weights_licences(preset))
    names = ", ".join(sorted({entry.licence for entry in found}))
    if forbidding := [entry.model for entry in found if entry.non_commercial]:
        advice = "For commercial use choose other weights: `ovdiff presets show` lists the terms."
        return Finding("licences", "warning", f"{', '.join(forbidding)}: NON-COMMERCIAL ({names})", advice)
    return Finding("licences", "ok", names)


def load_preset(name: str) -> tuple[Finding, Any]:
    """Return what is to be said of a preset, and the preset; None if it cannot be read."""
    from ovdiff.engines import load_any_preset

    try:
        preset = load_any_preset(name)
    except OVDiffError as error:
        return Finding(
            "preset", "failed", str(error), "Set OVDIFF_PRESET: `ovdiff presets list` names those there are."
        ), None
    if name == "tinyworld":
        advice = "For photographs set OVDIFF_PRESET=fast."
        return Finding(
            "preset", "warning", "tinyworld, the default, knows drawn scenes and 19 words alone", advice
        ), preset
    return Finding("preset", "ok", f"{preset.name}, for the engine {preset.engine!r}"), preset
