"""The command's arithmetic, and its comparisons on models an eighth as wide: what they take is not what is checked."""

import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import cost_peers
from benchmarks.cost_seconds import Timing, gmac_per_s, in_turns, machine, time_stage
from benchmarks.cost_stages import denoising_step, stages
from benchmarks.full_size_cost import main, measure_memory, memory_table, merged, plan_table, seconds_tables, totals
from benchmarks.full_size_models import full_size_parts, weights_of
from ovdiff import Preset, load_preset


def small(preset: Preset) -> Preset:
    """Return a preset of two small images in two steps."""
    extractors = preset.extractors
    pixels = {name: replace(getattr(extractors, name), support_px=64, window_px=64) for name in ("dino", "clip")}
    diffusion = replace(extractors.stable_diffusion, support_px=64, window_px=64)
    return replace(
        preset,
        generation=replace(preset.generation, images=2, steps=2, size_px=64),
        extractors=replace(extractors, stable_diffusion=diffusion, **pixels),
        proposals=replace(preset.proposals, cutler=replace(preset.proposals.cutler, short_side_px=64)),
        prototypes=replace(preset.prototypes, parts=2),
        safety=replace(preset.safety, check="off"),
    )


@pytest.fixture(scope="module")
def preset() -> Preset:
    return small(load_preset("paper"))


def test_weights_are_those_of_the_published_models() -> None:
    parts = full_size_parts(load_preset("paper"), "meta")
    parts.models.diffusion(parts.preset.models.generator)
    count = sum(weight.numel() for weight in weights_of(parts) if weight.is_floating_point())
    diffusion = 859_520_964 + 83_653_863 + 123_060_480  # UNet, VAE, text encoder
    assert count == pytest.approx(diffusion + 71_780_000, rel=1e-3)  # and CutLER (D.3)


def test_arithmetic_is_near_section_b() -> None:
    looked_at = "matching", "window at 512 x 512", "window at 448 x 448"
    rows = measure_memory(load_preset("paper"), lambda name: any(part in name for part in looked_at))
    assert rows
    for name, row in rows.items():
        assert row["gmac_per_item"] == pytest.approx(row["floor_gmac_per_item"], rel=0.16), (
            name
        )  # CLIP: 10 of 12 blocks


def test_attribution_is_compared_with_the_unet_alone_and_leaves_it_as_it_was(preset: Preset) -> None:
    parts = full_size_parts(preset, "cpu", torch.float32, shrink=8)
    unet = parts.models.diffusion(preset.models.generator).unet
    before = {name: type(processor) for name, processor in unet.attn_processors.items()}
    alone, unfused = cost_peers.attribution(parts, "cpu")
    assert min(alone.ours_s, alone.peer_s, unfused.peer_s) > 0
    assert {name: type(processor) for name, processor in unet.attn_processors.items()} == before


def test_a_whole_category_is_built_and_drawn(preset: Preset) -> None:
    parts = full_size_parts(preset, "cpu", torch.float32, shrink=8)
    (found,) = cost_peers.whole_category(parts, "cpu")
    assert found.what == "a category, N = 2"
    assert found.ratio == pytest.approx(found.peer_s / found.ours_s)


def test_a_stage_is_timed(preset: Preset) -> None:
    parts = full_size_parts(preset, "cpu", torch.float32, shrink=8)
    timing = time_stage(parts, stages(preset)["denoising step with attribution"], 1, "cpu")
    assert isinstance(timing, Timing)
    assert timing.seconds > 0
    assert timing.peak_mib is None
    assert denoising_step(parts, 1, recorded=False)() is None


def test_turns_are_alternate() -> None:
    order: list[str] = []
    in_turns([lambda: order.append("ours"), lambda: order.append("peer")], "cpu", rounds=2)
    assert order == ["ours", "peer", "ours", "peer"]


def test_the_machine_is_described_without_a_name() -> None:
    assert "torch" in machine("cpu")
    assert platform.node() not in machine("cpu").split()
    assert gmac_per_s("cpu", torch.float32) > 0.1


def test_results_of_an_earlier_run_stay_where_there_are_no_new_ones() -> None:
    earlier = {"paper": {"memory": {"a": 1, "b": 2}, "plan": [1, 2]}}
    new = {"paper": {"memory": {"b": 3}, "plan": [4]}, "fast": {}}
    assert merged(earlier, new) == {"paper": {"memory": {"a": 1, "b": 3}, "plan": [4]}, "fast": {}}


def traced(**changes: Any) -> dict[str, Any]:
    row = {
        "peak_mib": {"1": 10.0, "2": 20.0},
        "mib_per_item": 10.0,
        "gmac_per_item": 500.0,
        "floor_gmac_per_item": None,
        "items_per_category": 0,
        "items_per_image": 9,
    }
    return {**row, **changes}


def test_totals_are_in_tflop() -> None:
    rows = {"a": traced(), "b": traced(items_per_category=32, items_per_image=0)}
    assert totals(rows) == {"a category": 32.0, "an image": 9.0}


def test_tables() -> None:
    table = memory_table({"matching": traced()})
    assert table[2] == "| matching | 1: 10, 2: 20 | 10.0 | 500.0 |  |  | 9 |"
    assert table[-1] == "an image: 9.0 TFLOP"
    stage = {"stage": "x", "batch": 8, "weights_mib": 1024, "own_mib": 512, "peak_mib": 2048, "budget_mib": 4096}
    assert plan_table([stage])[2] == "| x | 8 | 1.00 | 0.50 | 2.00 | 4.00 |"
    timed = {"seconds_per_item": 3.0, "floor_seconds_per_item": 1.5, "peak_mib": None, **traced()}
    timed["peak_mib"] = None
    peers = [{"what": "w", "ours": "o", "peer": "p", "ours_s": 1.0, "peer_s": 2.0, "ratio": 2.0}]
    lines = seconds_tables(
        {"machine": "m", "gmac_per_s": {"half": 90.0, "float32": 45.0}, "stages": {"s": timed}, "peers": peers}
    )
    assert "| s | 3.000 | 1.500 | 2.00 |  |  | 9 |" in lines
    assert lines[-1] == "| w | o | 1.00 | p | 2.00 | 2.00 |"


def test_the_command_writes_what_it_prints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "results" / "cost.json"
    arguments = ["--presets", "fast", "--parts", "memory", "--stages", "clip matching", "--out", str(out)]
    monkeypatch.setattr("sys.argv", ["full_size_cost", *arguments])
    printed: list[str] = []
    main(printed.append)
    assert "## fast: memory" in printed[0]
    assert "clip matching" in out.read_text()
