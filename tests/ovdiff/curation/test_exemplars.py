import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ovdiff.curation.exemplars import cut_exemplar, exemplar_to_pictures, pictures_to_exemplar
from ovdiff.errors import ImageError

SIZE = 32


def _scene(height: int, width: int, rows: slice, columns: slice) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A grey image with a red object."""
    mask = np.zeros((height, width), dtype=np.bool_)
    mask[rows, columns] = True
    image = np.full((height, width, 3), 100, np.uint8)
    image[mask] = (255, 0, 0)
    return image, mask


def test_the_square_has_the_object_in_its_middle_and_surroundings() -> None:
    image, mask = _scene(200, 300, slice(80, 120), slice(130, 170))
    found = cut_exemplar(image, mask, SIZE)
    rows, columns = np.nonzero(found.foreground)
    assert abs(rows.mean() - (SIZE - 1) / 2) <= 1 and abs(columns.mean() - (SIZE - 1) / 2) <= 1
    assert found.foreground.mean() == pytest.approx(1 / 1.5**2, abs=0.06)
    assert (found.foreground ^ found.surroundings).all()  # nothing is repeated here
    red = (found.image[..., 0] > 200) & (found.image[..., 1] < 60)
    assert (red & found.foreground).sum() > 0.8 * found.foreground.sum() and not (red & found.surroundings).any()


def test_the_square_stays_in_the_image_where_it_can() -> None:
    image, mask = _scene(200, 300, slice(0, 40), slice(260, 300))
    found = cut_exemplar(image, mask, SIZE)
    assert (found.foreground | found.surroundings).all() and found.foreground[0, -1] and not found.foreground[-1, 0]


def test_what_is_repeated_is_neither_object_nor_surroundings() -> None:
    image, mask = _scene(40, 120, slice(10, 20), slice(0, 120))  # a strip: its square is higher than the image
    found = cut_exemplar(image, mask, SIZE)
    neither = ~found.foreground & ~found.surroundings
    assert neither[0].all() and neither[-1].all() and found.foreground.any(axis=0).all()
    assert found.image.shape == (SIZE, SIZE, 3) and (found.image > 0).any(axis=2).all()  # no black bars


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_an_object_of_any_size_and_place_keeps_most_of_itself(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(8, 90)), data.draw(st.integers(8, 90))
    top, left = data.draw(st.integers(0, height - 6)), data.draw(st.integers(0, width - 6))
    rows = slice(top, data.draw(st.integers(top + 6, height)))
    columns = slice(left, data.draw(st.integers(left + 6, width)))
    image, mask = _scene(height, width, rows, columns)
    found = cut_exemplar(image, mask, 48)
    box = max(mask.any(axis=1).sum(), mask.any(axis=0).sum())
    expected = mask.sum() * (48 / max(box, min(round(1.5 * box), height, width))) ** 2
    assert found.foreground.sum() == pytest.approx(expected, rel=0.35)
    assert not (found.foreground & found.surroundings).any()


def test_it_is_stored_and_read_back() -> None:
    found = cut_exemplar(*_scene(40, 120, slice(10, 20), slice(0, 120)), SIZE)
    again = pictures_to_exemplar(exemplar_to_pictures(found))
    assert (again.image == found.image).all()
    assert (again.foreground == found.foreground).all() and (again.surroundings == found.surroundings).all()


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (np.zeros((20, 30), np.bool_), "has no foreground: all its pixels are 0"),
        (np.ones((30, 20), np.bool_), "The image has 30 x 20 px and the mask 20 x 30 px. Draw the mask on this very"),
        (np.arange(600).reshape(20, 30) % 30 == np.arange(20)[:, None], "too thin: at the 4 x 4 px"),
    ],
)
def test_what_cannot_be_an_exemplar_is_said(mask: NDArray[np.bool_], said: str) -> None:
    with pytest.raises(ImageError, match=said):
        cut_exemplar(np.zeros((20, 30, 3), np.uint8), mask, 4)
