import numpy as np

from backend.command.change_picture import TILE_PX, MostChanged
from backend.presentation.overlay import label_colours
from ovdiff.segmentation import Segmentation

NAMES = ("boat", "water")


def _found(label_map: np.ndarray) -> Segmentation:
    return Segmentation(label_map.astype(np.int32), np.zeros(label_map.shape, np.float32), np.zeros(label_map.shape))


def _add(drawn: MostChanged, name: str, changed_rows: int, grey: int = 200) -> None:
    """Add an image of 40 x 40 px whose first rows become the second label."""
    before, after = np.ones((40, 40)), np.ones((40, 40))
    after[:changed_rows] = 2
    drawn.add(name, changed_rows / 40, np.full((40, 40, 3), grey, np.uint8), _found(before), _found(after))


def test_a_row_shows_the_image_both_sides_and_where_it_changes() -> None:
    drawn = MostChanged(NAMES, NAMES)
    _add(drawn, "a.png", 20)
    sheet = np.asarray(drawn.draw()).astype(int)
    top, bottom = 18 + 20, 18 + TILE_PX - 20
    image, before, after, where = (4 + column * (TILE_PX + 4) + TILE_PX // 2 for column in range(4))
    boat, water = ((200 + colour) / 2 for colour in label_colours(2)[1:].astype(int))
    assert (sheet[top, image] == 200).all()
    assert np.abs(sheet[top, before] - boat).max() <= 1 and np.abs(sheet[bottom, after] - boat).max() <= 1
    assert np.abs(sheet[top, after] - water).max() <= 1 and np.abs(sheet[top, where] - water).max() <= 1
    assert (sheet[bottom, where] > 230).all()  # nothing changes there


def test_only_the_images_that_change_most_are_kept_in_any_order() -> None:
    several = [("e", 9, 50), ("a", 3, 60), ("d", 30, 70), ("b", 20, 80), ("d", 30, 90)]
    drawn = MostChanged(NAMES, NAMES, rows=3)
    for name, rows, grey in several:
        _add(drawn, name, rows, grey)
    sheet = np.asarray(drawn.draw())
    greys = [int(sheet[18 + TILE_PX // 2 + row * (18 + TILE_PX + 4), 4 + TILE_PX // 2, 0]) for row in range(3)]
    assert sorted(greys[:2]) == [70, 90] and greys[2] == 80
