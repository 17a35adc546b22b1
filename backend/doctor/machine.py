"""This machine: the settings, the device, its memory, and the disk."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from backend.doctor.findings import Finding
from backend.settings import Settings

MIB, GIB = 1 << 20, 1 << 30
LEAST_FREE_BYTES = 200 * MIB
"""What a few new labels and the state file take."""
LEAST_MEMORY_BYTES = 1 * GIB
"""What the service takes beside its weights, on the embedded models (benchmarks/results/service_memory.json)."""
_NO_LIMIT = 1 << 60  # what control groups say where there is no limit


def settings_found(settings: Settings) -> Finding:
    """Say that the settings are valid, and which of them matter most."""
    server = settings.server
    password = "with a password" if server.requires_password else "without a password"
    return Finding(
        "settings",
        "ok",
        f"valid; preset {settings.preset!r}, device {settings.device!r}, {server.host}:{server.port} {password}, "
        f"data in {settings.data_dir}",
    )


def check_device(settings: Settings) -> Finding:
    """Look whether torch can use the device of the settings. Imports torch."""
    from ovdiff.errors import DeviceError
    from ovdiff.models.devices import device_name, require_device

    try:
        require_device(settings.device)
    except DeviceError as error:
        advice = (
            "Set OVDIFF_DEVICE=cpu, or mend the GPU's driver. A container is given a GPU by `docker run --gpus all`."
        )
        return Finding("device", "failed", str(error), advice)
    name = device_name(settings.device)
    if name.partition(":")[0] == "cuda":
        import torch

        return Finding("device", "ok", f"{settings.device}: {torch.cuda.get_device_name(name)}")
    return Finding("device", "ok", f"{settings.device} can be used")


def check_memory(settings: Settings, preset: Any, weights_mb: int) -> Finding:
    """Hold the memory that is free against the preset's budget on a GPU, or against the weights on a CPU."""
    if settings.device.startswith("cuda"):
        from ovdiff.models.devices import device_name

        return _gpu_memory(device_name(settings.device), preset, weights_mb)
    free, needed = free_memory_bytes(), weights_mb * 10**6 + LEAST_MEMORY_BYTES
    found = f"{_gib(free)} are free; the weights and the service take about {_gib(needed)}"
    if free < needed:
        return Finding("memory", "warning", found, "End other programs, choose a smaller preset, or give more memory.")
    return Finding("memory", "ok", found)


def budget_gib(preset: Any) -> float | None:
    """Return what a preset allows on a GPU; None for an engine of another package, whose limits are not known."""
    memory, taps = getattr(preset, "memory", None), getattr(preset, "taps", None)
    if memory is not None:
        return float(max(memory.build_gib, memory.segment_gib))
    return None if taps is None else float(taps.budget_gib)


def free_memory_bytes(meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the memory that this process could still take: the machine's, or what is left of its control group's.

    A group's use includes files that the system keeps in memory, such as weights that were fetched. Those that nobody
    has looked at lately make room for others, so they count as free.
    """
    free = _number_of("MemAvailable:", meminfo) * 1024
    try:
        allowed = int((group / "memory.max").read_text())
        if allowed < _NO_LIMIT:
            used = int((group / "memory.current").read_text())
            free = min(free, allowed - used + _number_of("inactive_file", group / "memory.stat"))
    except (OSError, ValueError):  # no such group, or "max"
        pass
    return max(0, free)


def check_disk(settings: Settings, preset: Any, missing_mb: int) -> Finding:
    """Look whether the data folder can be written, and has room for what will come."""
    folder, cache_mib = settings.data_dir, int(getattr(getattr(preset, "cache", None), "disk_mib", 0))
    there = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    advice = "Set OVDIFF_DATA_DIR to a folder that this user may write, on a disk with room."
    if folder.exists() and not folder.is_dir():
        return Finding("disk", "failed", f"{folder} is no folder", advice)
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            file.write(b"\0" * 4096)
            file.flush()
    except OSError as error:
        return Finding("disk", "failed", f"{there} cannot be written: {error.strerror}", advice)
    free = shutil.disk_usage(there).free
    wanted = missing_mb * 10**6 + cache_mib * MIB
    found = f"{folder} can be written; {_gib(free)} are free"
    if free < LEAST_FREE_BYTES:
        return Finding("disk", "failed", found, advice)
    if free < wanted:
        coming = f"missing weights ({missing_mb} MB, in the libraries' cache) and kept features ({cache_mib} MiB)"
        return Finding("disk", "warning", f"{found}; {coming} may not fit", advice)
    return Finding("disk", "ok", found)


def _gpu_memory(device: str, preset: Any, weights_mb: int) -> Finding:
    import torch

    from ovdiff.models.memory import RESERVE_MIB

    free, total = torch.cuda.mem_get_info(device)
    budget = budget_gib(preset)
    said = "" if budget is None else f"; the preset may use {budget:g} GiB"
    found = f"{_gib(free)} of {_gib(total)} are free on {device}{said}"
    if free < weights_mb * 10**6 + RESERVE_MIB * MIB:
        advice = "End other programs on the GPU, or choose a smaller preset: the weights alone do not fit."
        return Finding("memory", "failed", found, advice)
    if budget is not None and free < budget * GIB:
        return Finding("memory", "warning", found, "Batches become smaller, so it is slower. End other programs on it.")
    return Finding("memory", "ok", found)


def _number_of(name: str, path: Path) -> int:
    """Return the number behind a name in a file of lines; 0 without that name."""
    lines = (line.split() for line in path.read_text().splitlines())
    return next((int(words[1]) for words in lines if words[:1] == [name]), 0)


def _gib(size_bytes: float) -> str:
    return f"{size_bytes / GIB:.1f} GiB"
