from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from ovdiff.engines import load_any_preset
from ovdiff.odise.preset import OdisePreset
from ovdiff.odise.training.examples import NAMELESS, Example
from ovdiff.odise.training.views import Frame, Views, canvas_px, frame_of, jittered, on_canvas, view_grid


@pytest.fixture(scope="module")
def preset() -> OdisePreset:
    found = load_any_preset("odise_tinyworld")
    assert isinstance(found, OdisePreset)
    return found


def picture(height: int = 40, width: int = 80) -> NDArray[np.uint8]:
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows * 5 % 256, columns * 3 % 256, (rows + columns) % 256], axis=2).astype(np.uint8)


def example(**more: object) -> Example:
    segments = np.zeros((40, 80), np.int32)
    segments[:, :40], segments[:10, 40:] = 1, 2
    return Example(picture(), segments, (4, 7), ("a car",), **more)  # type: ignore[arg-type]


def test_the_first_view_is_the_whole_image_and_the_others_are_not(preset: OdisePreset) -> None:
    views = Views([example()], preset)
    assert len(views) == preset.training.views == 4
    first = views(0)
    assert first.windows.shape == (1, 64, 64, 3) and first.segments.shape == (64, 64)
    assert (first.segments[:, :32] == 1).all() and (first.segments[:16, 32:] == 2).all()
    assert (first.segments[16:, 32:] == 0).all() and first.names == [4, 7] and first.captions == ["a car"]
    others = [views(number) for number in range(1, 4)]
    assert all(not np.array_equal(first.windows, other.windows) for other in others)
    assert len({other.windows.tobytes() for other in others}) == 3


def test_a_view_depends_on_seed_image_and_view_alone(preset: OdisePreset) -> None:
    one, two = Views([example(), example()], preset), Views([example(), example()], preset)
    backwards = {number: two(number) for number in reversed(range(8))}
    for number in range(8):
        assert np.array_equal(one(number).windows, backwards[number].windows)
        assert np.array_equal(one(number).segments, backwards[number].segments)
    assert not np.array_equal(one(1).windows, one(5).windows)  # the same view of another image
    other = Views([example()], replace(preset, training=replace(preset.training, seed=1)))
    assert np.array_equal(one(0).windows, other(0).windows) and not np.array_equal(one(1).windows, other(1).windows)


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.3, 2.0])
@pytest.mark.parametrize("square", [True, False])
def test_pixels_and_segments_stay_together_and_what_is_beyond_the_image_is_grey(
    scale: float, square: bool, preset: OdisePreset
) -> None:
    frame = frame_of((40, 80), scale, (0.3, 0.9), square=square)
    marked = picture()
    marked[:, :40] = (250, 0, 0)
    marked[:, 40:] = (0, 0, 250)
    canvas = on_canvas(marked, frame, 64).astype(int)
    for row, column in np.ndindex(64, 64):
        x = frame.left + (column + 0.5) / 64 * frame.width
        y = frame.top + (row + 0.5) / 64 * frame.height
        if abs(x - 40) < 8 or min(abs(x), abs(80 - x), abs(y), abs(40 - y)) < 2:
            continue  # beside an edge
        expected = (250, 0, 0) if x < 40 else (0, 0, 250)
        beyond = not (0 < x < 80 and 0 < y < 40)
        assert np.abs(canvas[row, column] - ((128, 128, 128) if beyond else expected)).max() <= 2
    if scale > 1:
        assert (frame.left >= 0 and frame.left + frame.width <= 80) or square


def test_segments_beyond_the_image_are_none(preset: OdisePreset) -> None:
    small = replace(preset, training=replace(preset.training, scale=(0.5, 0.5)))
    view = Views([replace(example(), segment_map=np.ones((40, 80), np.int32), names=(3,))], small)(1)
    assert 0.24 < (view.segments == 1).mean() < 0.26 and view.names == [3]
    assert (view.windows[0][view.segments == 0] == 128).mean() > 0.9


def test_a_long_thin_image_and_one_pixel(preset: OdisePreset) -> None:
    for height, width in ((1, 5000), (5000, 1), (1, 1)):
        shown = Example(np.full((height, width, 3), 90, np.uint8), np.ones((height, width), np.int32), (0,))
        view = Views([shown], preset)
        assert (view(0).segments == 1).all() and view(0).windows.shape == (1, 64, 64, 3)
        assert view(1).segments.max() == 1


def test_sliding_views_keep_the_aspect_and_have_equally_many_windows(preset: OdisePreset) -> None:
    taps = replace(preset.taps, windows="sliding", window_px=64, short_side_px=128)
    sliding = replace(preset, taps=taps)
    assert canvas_px(taps) == 128 and view_grid(taps)[:3] == ((128, 128), 2, 2)
    views = Views([example()], sliding)
    assert {views(number).windows.shape for number in range(4)} == {(4, 64, 64, 3)}
    assert (views(0).segments == 0).mean() > 0.5  # 80 x 40 in a square leaves half of it, and a part was never marked
    assert frame_of((40, 80), 1.0, (0.0, 0.0), square=True) == Frame(0, 0, 80, 80)


def test_colours_are_jittered_by_the_setting_and_not_in_the_whole_view(preset: OdisePreset) -> None:
    loud = replace(preset, training=replace(preset.training, colour=0.4))
    plain, changed = Views([example()], preset), Views([example()], loud)
    assert np.array_equal(plain(0).windows, changed(0).windows)
    assert not np.array_equal(plain(1).windows, changed(1).windows)
    assert np.array_equal(plain(1).segments, changed(1).segments)
    same = jittered(picture(), 0.0, np.random.default_rng(0))
    assert np.array_equal(same, picture())


def test_only_a_whole_annotation_has_nameless_objects(preset: OdisePreset) -> None:
    island = np.ones((40, 80), np.int32)
    island[10:30, 20:60] = 0
    nameless = replace(preset, loss=replace(preset.loss, void="nameless"))
    whole = Example(picture(), island, (4,))
    assert Views([whole], nameless)(0).names == [4, NAMELESS]
    partial = Views([replace(whole, partial=True)], nameless)(0)
    assert partial.names == [4] and partial.partial
