import math

import pytest

from benchmarks.baselines_cost import encoding, windows_of
from ovdiff.engines import load_any_preset


@pytest.mark.parametrize("name", ["naclip", "clip_surgery", "groupvit", "clipseg"])
def test_the_presets_say_what_a_window_takes(name: str) -> None:
    cost = encoding(name, 4)
    assert math.ceil(cost.peak_mib / 4) == load_any_preset(name).batches.mib_per_window  # type: ignore[attr-defined]
    assert cost.gmac > 10


def test_windows_are_those_of_a_4_to_3_image() -> None:
    assert {name: windows_of(name) for name in ("naclip", "maskclip", "clipseg")} == {
        "naclip": 6,
        "maskclip": 2,
        "clipseg": 1,
    }
