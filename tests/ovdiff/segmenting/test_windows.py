import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from ovdiff.presets import load_preset
from ovdiff.presets.segmenting_settings import WindowSettings
from ovdiff.segmenting.windows import Window, plan_windows, resize_to_working, working_size_hw

PAPER = WindowSettings()


def _counts(size_hw: tuple[int, int]) -> tuple[int, ...]:
    """Number of windows of each crop and the whole image, each coinciding one counted."""
    only = [WindowSettings(crops_px=(crop,), whole_image=False) for crop in PAPER.crops_px]
    counts = [sum(window.weight for window in plan_windows(size_hw, settings)) for settings in only]
    return (*counts, sum(window.weight for window in plan_windows(size_hw, PAPER)) - sum(counts))


@pytest.mark.parametrize(
    ("size_hw", "counts"), [((448, 597), (2, 6, 1)), ((448, 896), (3, 8, 1)), ((448, 448), (1, 4, 1))]
)
def test_counts_are_the_reference_s(size_hw: tuple[int, int], counts: tuple[int, ...]) -> None:
    assert _counts(size_hw) == counts


def test_whole_square_image_is_listed_once_and_counts_twice() -> None:
    windows = plan_windows((448, 448), PAPER)
    assert len(windows) == 5
    assert windows[0] == Window(0, 0, 448, 448, weight=2)


def test_last_window_is_shifted_back_inside() -> None:
    columns = [
        window.left for window in plan_windows((448, 597), PAPER) if window.height == 448 and window.width == 448
    ]
    assert columns == [0, 149]


@given(height=st.integers(1, 700), width=st.integers(1, 700))
def test_windows_lie_inside_and_cover_everything(height: int, width: int) -> None:
    settings = WindowSettings(short_side_px=128, crops_px=((128, 64), (96, 64)), whole_image=False)
    covered = np.zeros((height, width), dtype=bool)
    for window in plan_windows((height, width), settings):
        assert window.top + window.height <= height and window.left + window.width <= width
        covered[window.top : window.top + window.height, window.left : window.left + window.width] = True
    assert covered.all()


def test_working_size_keeps_the_aspect_until_the_long_side_is_full() -> None:
    assert working_size_hw((900, 1200), PAPER) == (448, 597)
    assert working_size_hw((100, 100), PAPER) == (448, 448)
    assert working_size_hw((100, 1000), PAPER) == (205, 2048)
    assert working_size_hw((1, 10_000), PAPER) == (1, 2048)


@given(height=st.integers(20, 900), width=st.integers(20, 900))
@hypothesis_settings(max_examples=40, deadline=None)
def test_under_paper_the_working_size_is_torchvision_s(height: int, width: int) -> None:
    from torchvision.transforms import Resize

    paper = load_preset("paper").windows
    resized = Resize(paper.short_side_px, max_size=paper.max_long_side_px)(Image.new("1", (width, height)))
    assert working_size_hw((height, width), paper) == (resized.height, resized.width)


def test_rounding_down_gives_a_column_less_and_never_none() -> None:
    down = WindowSettings(rounding="down")
    assert working_size_hw((449, 600), PAPER) == (448, 599) and working_size_hw((449, 600), down) == (448, 598)
    assert working_size_hw((10_000, 1), down) == (2048, 1)


def test_resize_gives_the_working_size_and_leaves_a_fitting_image_alone() -> None:
    image = np.zeros((30, 60, 3), np.uint8)
    settings = WindowSettings(short_side_px=60, crops_px=())
    assert resize_to_working(image, settings).shape == (60, 120, 3)
    fitting = np.zeros((60, 70, 3), np.uint8)
    assert resize_to_working(fitting, settings) is fitting
