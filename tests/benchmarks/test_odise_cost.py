"""The published architecture keeps to what its preset says of memory: traced at full size, without a GPU."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch import Tensor

from benchmarks import odise_cost
from benchmarks.memory_plan import pretended_card
from benchmarks.memory_trace import MIB, cost_of
from benchmarks.odise_cost import FullSizeOdise, Step, images_table, main, stages_table, step_cost, steps_table
from ovdiff.engines import load_any_preset
from ovdiff.errors import DeviceMemoryError
from ovdiff.odise.captioner import ImplicitCaptioner
from ovdiff.odise.encoding import WindowEncoder
from ovdiff.odise.engine import OdiseEngine
from ovdiff.odise.preset import OdisePreset

TRACED = json.loads((Path(odise_cost.__file__).parent / "results" / "odise_cost.json").read_text())


@cache
def preset() -> OdisePreset:
    found = load_any_preset("odise")
    assert isinstance(found, OdisePreset)
    return found


@cache
def parts() -> FullSizeOdise:
    return FullSizeOdise(preset())


@pytest.mark.parametrize("count", [1, 4])
def test_windows_take_no_more_than_the_preset_says_of_them_and_little_less(count: int) -> None:
    windows, captioner = np.zeros((count, 512, 512, 3), np.uint8), parts().head[0].captioner
    peak_mib = cost_of(lambda: parts().encoder.encode(windows, captioner), parts().weights()).peak_mib
    allowed = preset().taps.mib_per_window * count
    assert 0.9 * allowed < peak_mib <= allowed, "change taps.mib_per_window in odise.toml"


class Counted:
    """Encodes as the real encoder does, and notes how many windows at once."""

    def __init__(self, encoder: WindowEncoder) -> None:
        self.taps, self.asked = encoder.taps, list[int]()
        self._encoder = encoder

    def encode(self, windows: NDArray[np.uint8], captioner: ImplicitCaptioner | None) -> list[Tensor]:
        self.asked.append(len(windows))
        return self._encoder.encode(windows, captioner)


def encoded(card_gib: float) -> tuple[list[int], float]:
    """Return how many windows of a square image a card encoded at once, and the peak in MiB, weights included."""
    engine = OdiseEngine(preset(), models=parts().models)
    engine._parts = parts()
    before, counted = parts().encoder, Counted(parts().encoder)
    parts().__dict__["encoder"] = counted
    try:
        with pretended_card(card_gib) as trace:
            trace.hold(parts().weights())
            engine._encode(np.zeros((1024, 1024, 3), np.uint8))
    finally:
        parts().__dict__["encoder"] = before
    return counted.asked, trace.peak_bytes / MIB


def test_a_small_card_gets_fewer_windows_at_once_and_a_larger_one_the_budget() -> None:
    small, _ = encoded(5.0)
    large, peak_mib = encoded(24.0)
    assert small == [2, 2] and large == [4]
    assert peak_mib < 5.4 * 1024  # the taps of each batch are let go, or a square image would take 352 MiB more


def test_a_card_that_the_weights_fill_is_told_what_helps() -> None:
    words = r"no room for encoding a window of an image: it takes 330 MiB.*raise taps\.budget_gib \(6\)"
    with pytest.raises(DeviceMemoryError, match=words):
        encoded(4.0)


def test_a_step_learns_through_the_unet_while_the_captioner_does() -> None:
    generator = replace(preset().mask_generator, encoder_layers=1, decoder_layers=1, queries=10)
    small = replace(preset(), mask_generator=generator, taps=replace(preset().taps, short_side_px=512))
    cost = step_cost(Step(small, 1))
    assert cost.gmac > 2 * TRACED["stages"]["one pass of the UNet"]["gmac_per_item"]  # forwards and backwards
    assert cost.peak_mib < 2500  # attention that kept its matrices would take 1,536 MiB more


def test_the_figures_are_of_the_preset_as_it_is() -> None:
    window = TRACED["stages"]["a window, whole"]
    assert window["mib_per_item"] <= preset().taps.mib_per_window
    assert set(TRACED["images"]) == set(odise_cost.SIZES_HW)


def test_tables() -> None:
    stages = stages_table(TRACED)
    assert "| VAE | window | 870 | 322 |" in stages and "3.68 GiB" in stages
    assert "| 4:3, 1365 x 1024 px | 6 | 18.3 |" in images_table(TRACED)
    row = {"tflop_per_view": 1.0, "mib_per_view": 10_000.0, "mib_at_rest": 400.0}
    made = steps_table({"weights_mib": 4000.0, "steps": {"a": row}, "lowered": {"b": {"peak_mib": 2048.0}}})
    assert "| a | 1.0 | 9.77 | 1 | 3 | 7 |" in made and made.endswith("| b | 2.00 |")


def test_the_command_writes_what_it_prints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def measured(of: Any) -> dict[str, Any]:
        return {**TRACED, "preset": of.name}

    out, printed = tmp_path / "results" / "cost.json", list[str]()
    monkeypatch.setattr(odise_cost, "measure", measured)
    monkeypatch.setattr("sys.argv", ["odise_cost", "--out", str(out)])
    main(printed.append)
    assert json.loads(out.read_text())["preset"] == "odise" and stages_table(TRACED) in printed[0]
