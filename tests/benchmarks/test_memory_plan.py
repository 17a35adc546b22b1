"""The presets keep to their memory budgets by construction: traced at full size, without a GPU."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from backend.settings import ImageSettings
from benchmarks.cost_stages import stages
from benchmarks.full_size_models import FullSizeParts, full_size_parts, weights_of
from benchmarks.memory_plan import PlannedStage, load_everything, plan, preset_mib, pretended_card
from benchmarks.memory_trace import MIB, peak_mib_of
from ovdiff import load_preset
from ovdiff.building.generation.diffusion import DrawingBatch
from ovdiff.errors import DeviceMemoryError
from ovdiff.models.device_images import resize_lanczos
from ovdiff.models.memory import RESERVE_MIB
from ovdiff.segmenting.encoding import encode_image
from ovdiff.segmenting.windows import working_size_hw

SMALL_CARD_GIB = 4.75


@cache
def planned(name: str) -> list[PlannedStage]:
    return plan(load_preset(name), quick=True)


@pytest.mark.parametrize("name", ["paper", "fast"])
def test_every_stage_keeps_to_its_budget(name: str) -> None:
    over = [stage for stage in planned(name) if stage.peak_mib > stage.budget_mib]
    assert not over


def test_paper_takes_under_12_gb_a_category_and_under_6_gb_an_image() -> None:
    peaks = {stage.stage: stage.peak_mib * MIB / 1e9 for stage in planned("paper")}
    of_image = stages(load_preset("paper"))
    assert max(peaks.values()) < 12
    assert max(peak for stage, peak in peaks.items() if of_image[stage].per_image) < 6


@pytest.mark.parametrize("name", ["paper", "fast"])
def test_a_batch_never_takes_more_than_the_preset_says_of_its_items(name: str) -> None:
    preset = load_preset(name)
    for stage in planned(name):
        if allowed := preset_mib(preset, stage.stage):
            assert stage.own_mib <= stage.batch * allowed, f"{stage.stage}: raise the MiB of its items in {name}.toml"


def test_a_preset_that_leaves_memory_out_of_the_drawing_does_so_in_all_of_its_stages() -> None:
    """`fast` gives the memory of a sample besides, which counts for nothing then, as in `building.drawing`."""
    fast = load_preset("fast")
    without = replace(fast, generation=replace(fast.generation, mib_per_image=0))
    assert [preset_mib(fast, name) for name in ("denoising step with attribution", "VAE decoding")] == [70, 390]
    assert [preset_mib(without, name) for name in ("denoising step with attribution", "VAE decoding")] == [0, 0]


def test_sampling_as_a_whole_takes_no_more_than_its_stages() -> None:
    preset = load_preset("paper")
    parts = full_size_parts(replace(preset, generation=replace(preset.generation, steps=2)), "meta")
    generator, batch = parts.generator, DrawingBatch("cat", (0, 1, 2, 3))
    peak_mib = peak_mib_of(lambda: generator.generate(batch), weights_of(parts))
    (step,) = (stage for stage in planned("paper") if stage.stage == "denoising step with attribution")
    assert peak_mib == pytest.approx(step.own_mib * len(batch.numbers) / step.batch, rel=0.01)


@pytest.mark.parametrize("name", ["paper", "fast"])
def test_the_photographs_of_a_group_are_resized_within_the_reserve(name: str) -> None:
    """Threads resize them beside the models, which leave the reserve free. docs/gpu.md says what larger groups take."""
    size_hw = 3000, 4000
    photograph = torch.zeros((*size_hw, 3), dtype=torch.uint8, device="meta")
    working_hw = working_size_hw(size_hw, load_preset(name).windows)
    peak_mib = peak_mib_of(lambda: resize_lanczos(photograph.clone(), working_hw))
    together = ImageSettings.pixels_at_once // (size_hw[0] * size_hw[1])
    assert 130 < peak_mib < 140 and together >= 2 and together * peak_mib < RESERVE_MIB


@pytest.mark.parametrize(("section", "gib"), [("build_gib", 3.0), ("segment_gib", 3.0)])
def test_a_budget_that_the_weights_fill_is_a_clear_error(section: str, gib: float) -> None:
    preset = load_preset("paper")
    small = replace(preset, memory=replace(preset.memory, **{section: gib}))
    with pytest.raises(DeviceMemoryError, match=r"no room for .*: it takes \d+ MiB; of a budget of 3\.0 GiB"):
        plan(small, quick=True)


def test_an_image_is_encoded_within_a_small_card() -> None:
    found, peak_mib = encoded(loaded("paper"), SMALL_CARD_GIB)
    assert max(found) == 1  # windows of Stable Diffusion at once
    assert peak_mib + RESERVE_MIB <= SMALL_CARD_GIB * 1024


def test_a_larger_card_is_used() -> None:
    found, peak_mib = encoded(loaded("paper"), 6.0)
    assert max(found) == 4  # of six
    assert peak_mib + RESERVE_MIB <= 5.5 * 1024  # the preset's budget


@cache
def loaded(name: str) -> FullSizeParts:
    parts = full_size_parts(load_preset(name), "meta")
    load_everything(parts)
    return parts


def encoded(parts: FullSizeParts, card_gib: float) -> tuple[list[int], float]:
    """Return the batches of Stable Diffusion's windows of a 4:3 image, and all that was taken at most in MiB."""
    with pretended_card(card_gib) as trace:
        trace.hold(weights_of(parts))
        result = encode_image(parts.segmenting, np.zeros((480, 640, 3), np.uint8))
    return [len(batch.windows) for batch in result.features["stable_diffusion"]], trace.peak_bytes / MIB
