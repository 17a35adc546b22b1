import numpy as np
import pytest

from backend.presentation.crops import crop


def test_a_box_is_cut_out_with_its_surroundings() -> None:
    image = np.zeros((100, 200, 3), dtype=np.uint8)
    image[40:60, 80:120] = 255
    tile = crop(image, (0.4, 0.4, 0.6, 0.6), 60)
    assert tile.size == (60, 30)
    seen = np.asarray(tile)[..., 0]
    assert seen[15, 30] == 255
    assert seen[0, 0] == 0
    assert (seen > 127).mean() == pytest.approx(1 / 1.5**2, abs=0.05)


@pytest.mark.parametrize("box", [(0.0, 0.0, 1.0, 1.0), (0.99, 0.99, 1.0, 1.0), (0.0, 0.0, 0.001, 1.0)])
def test_a_box_at_the_edge_stays_inside(box: tuple[float, float, float, float]) -> None:
    tile = crop(np.zeros((30, 50, 3), dtype=np.uint8), box, 40)
    assert max(tile.size) == 40
    assert min(tile.size) >= 1
