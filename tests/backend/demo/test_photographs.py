from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from backend.demo.photographs import ORIENTATION_TAG, write_orientations, write_photographs


def test_there_are_at_least_six_photographs_of_several_sizes(tmp_path: Path) -> None:
    paths = write_photographs(tmp_path)
    assert len(paths) >= 6
    assert len({Image.open(path).size for path in paths}) >= 4
    assert {Image.open(path).mode for path in paths} == {"L", "RGB"}


def test_all_eight_orientations_show_the_same_picture(tmp_path: Path) -> None:
    paths = write_orientations(tmp_path)
    assert [Image.open(path).getexif()[ORIENTATION_TAG] for path in paths] == list(range(1, 9))
    shown = [np.asarray(ImageOps.exif_transpose(Image.open(path)), dtype=np.int16) for path in paths]
    for other in shown[1:]:
        assert other.shape == shown[0].shape
        assert np.abs(other - shown[0]).mean() < 3  # JPEG rounding; a wrong turn gives tens


def test_orientations_differ_in_what_is_stored(tmp_path: Path) -> None:
    sizes = [Image.open(path).size for path in write_orientations(tmp_path)]
    assert sizes[:4] == [sizes[0]] * 4
    assert sizes[4:] == [sizes[0][::-1]] * 4
