import numpy as np
import pytest

from ovdiff.odise.training.examples import NAMELESS, Example, fitted_segments, with_nameless

MAP = np.array(
    [
        [1, 1, 0, 0, 2],
        [1, 1, 0, 0, 2],
        [0, 1, 2, 2, 2],
    ],
    dtype=np.int32,
)


def example(segment_map: np.ndarray = MAP, names: tuple[int, ...] = (7, 3)) -> Example:
    return Example(np.zeros((*segment_map.shape, 3), np.uint8), segment_map, names, ("A car.",))


def test_each_connected_region_without_annotation_becomes_a_nameless_segment() -> None:
    found = with_nameless(example(), min_area=0.0)
    assert found.segment_map.tolist() == [[1, 1, 3, 3, 2], [1, 1, 3, 3, 2], [4, 1, 2, 2, 2]]
    assert found.names == (7, 3, NAMELESS, NAMELESS)
    assert found.captions == ("A car.",)


@pytest.mark.parametrize("turned", [False, True])
def test_a_region_that_reaches_from_side_to_side_is_surroundings(turned: bool) -> None:
    segment_map = np.array([[1, 1, 1, 1], [0, 0, 0, 0], [2, 0, 2, 2], [2, 2, 2, 2], [2, 0, 0, 2]], dtype=np.int32)
    found = with_nameless(example(segment_map.T if turned else segment_map), min_area=0.0)
    expected = segment_map.copy()
    expected[4, 1:3] = 3  # touches one side alone
    assert np.array_equal(found.segment_map, expected.T if turned else expected)
    assert found.names == (7, 3, NAMELESS)


def test_small_regions_stay_without_annotation() -> None:
    found = with_nameless(example(), min_area=2 / 15)
    assert found.segment_map.tolist() == [[1, 1, 3, 3, 2], [1, 1, 3, 3, 2], [0, 1, 2, 2, 2]]
    assert found.names == (7, 3, NAMELESS)


def test_an_image_that_is_annotated_whole_is_as_it_was() -> None:
    whole = example(np.ones((2, 2), np.int32), (0,))
    assert with_nameless(whole, 0.0) is whole


def test_cells_take_the_segment_at_their_centre_and_numbers_have_no_gaps() -> None:
    segment_map = np.zeros((6, 8), np.int32)
    segment_map[:, 4:], segment_map[0, 0], segment_map[4:, :4] = 5, 2, 3
    found, names = fitted_segments(segment_map, [10, 20, 30, 40, 50], 4)
    for row in range(4):
        for column in range(4):
            at = segment_map[int((row + 0.5) * 6 / 4), int((column + 0.5) * 8 / 4)]
            assert names[found[row, column] - 1] == 10 * at if at else found[row, column] == 0
    assert names == [30, 50]  # segment 2 holds no centre
    assert set(np.unique(found)) == {0, 1, 2}


@pytest.mark.parametrize("count", [255, 300])
def test_more_segments_than_a_byte_holds_are_left_out(count: int) -> None:
    segment_map = np.arange(1, 401, dtype=np.int32).reshape(20, 20)
    segment_map[segment_map > count] = 0
    found, names = fitted_segments(segment_map, list(range(400)), 20)
    assert names == list(range(255))
    assert found.max() == 255
    assert (found > 0).sum() == 255
