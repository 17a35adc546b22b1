"""How long an item of a stage takes on a device: as measured there, or extrapolated, and then said to be.

::

    extrapolated seconds = max(FLOPs / rate, bytes / bandwidth) / share of the peak

Rate and bandwidth are the maker's. On the CPU the rate is that of a matrix product, measured. What runs on a core
beside a GPU was measured on a core of another machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ovdiff.errors import PlanError
from ovdiff.planning.assumptions import Assumptions
from ovdiff.planning.costs import Measurement, Stage, cpu_rate, preset_costs
from ovdiff.planning.devices import CPU, USUAL_GPU, Device, published

Basis = Literal["measured", "extrapolated"]


@dataclass(frozen=True)
class StageSeconds:
    """Seconds of a stage on a device.

    Attributes:
        stage: the stage.
        seconds: of one item.
        basis: whether it was measured on this device.
        source: the measurement, or the rate and the share that it was extrapolated by.
    """

    stage: Stage
    seconds: float
    basis: Basis
    source: str

    @property
    def of_all(self) -> float:
        """Return the seconds of all items that a category or an image takes."""
        return self.seconds * self.stage.items


def stage_seconds(
    stages: Sequence[Stage], preset: str, device: str, measured: Sequence[Measurement], assumed: Assumptions
) -> list[StageSeconds]:
    """Return the seconds of each stage on a device.

    Args:
        stages: the stages.
        preset: whose stages they are.
        device: a name of :func:`ovdiff.planning.devices.device_names`.
        measured: of several measurements of a stage the first counts.
        assumed: the share of the published rate.

    Raises:
        PlanError: the device is unknown, or a stage was neither measured nor counted.
    """
    card = published(device)
    rows = [row for row in measured if row.preset == preset]
    if unknown := _unknown(stages, device, rows):
        elsewhere = "" if device.upper() == CPU or _unknown(stages, CPU, rows) else f"plan for it with --gpus 8x{CPU}, "
        raise PlanError(
            f"{preset} was neither measured on {device} nor counted ({'; '.join(unknown)}): {elsewhere}"
            f"{'for' if elsewhere else 'plan for'} another preset such as --preset fast, or give --measured FILE with "
            f"these stages."
        )
    return [_of(stage, device, card, rows, assumed) for stage in stages]


def usual_device(preset: str, measured: Sequence[Measurement]) -> str:
    """Return the device that a plan is for where nobody names one: a GPU, or the CPU if nothing is known on a GPU.

    Raises:
        PlanError: nobody counted the stages of this preset.
    """
    rows = [row for row in measured if row.preset == preset]
    return CPU if _unknown(preset_costs(preset).stages, USUAL_GPU, rows) else USUAL_GPU


def _unknown(stages: Sequence[Stage], device: str, rows: Sequence[Measurement]) -> list[str]:
    """Return the names of the stages that were neither counted nor measured where they run."""
    return [
        stage.name + (" on a core" if _ran_on(stage, device) != device else "")
        for stage in stages
        if stage.flops is None
        and stage.bytes is None
        and not any(row.stage == stage.name and row.is_on(_ran_on(stage, device)) for row in rows)
    ]


def _ran_on(stage: Stage, device: str) -> str:
    return CPU if stage.runs_on == "core" else device


def _of(
    stage: Stage, device: str, card: Device | None, rows: Sequence[Measurement], assumed: Assumptions
) -> StageSeconds:
    of_stage = [row for row in rows if row.stage == stage.name]
    ran_on = _ran_on(stage, device)
    for row in of_stage:
        if row.is_on(ran_on):
            other = card is not None and stage.runs_on == "core"
            return StageSeconds(stage, row.seconds, "extrapolated" if other else "measured", _where(row, other=other))
    return _by_rate(stage, card, assumed.share_of_peak) if ran_on != CPU else _by_cpu_rate(stage)


def _where(row: Measurement, *, other: bool) -> str:
    said = f"measured on {row.device}, {row.source}"
    return f"{said}; cores of other machines are supposed to be as fast" if other else said


def _by_rate(stage: Stage, card: Device | None, share: float) -> StageSeconds:
    if card is None:
        return _by_cpu_rate(stage)
    by_flops = (stage.flops or 0.0) / (card.tflop_per_s(stage.precision) * 1e12)
    by_bytes = (stage.bytes or 0.0) / (card.bandwidth_gb_s * 1e9)
    if by_flops >= by_bytes:
        by = f"FLOPs over {card.tflop_per_s(stage.precision):g} TFLOP/s ({stage.precision})"
    else:
        by = f"bytes over {card.bandwidth_gb_s:g} GB/s"
    source = f"{by}, published, not measured ({card.source}), times {share:.2g} of the peak, assumed"
    return StageSeconds(stage, max(by_flops, by_bytes) / share, "extrapolated", source)


def _by_cpu_rate(stage: Stage) -> StageSeconds:
    rate, device = cpu_rate(stage.precision)
    seconds = (stage.flops or 0.0) / (rate * 1e12)
    return StageSeconds(stage, seconds, "extrapolated", f"FLOPs over {rate:.3g} TFLOP/s, a matrix product on {device}")
