import numpy as np
from PIL import Image

from backend.demo.sheet import Triple, contact_sheet

_COLOURS = {"ball": "#ff0000", "sky": "#0000ff"}


def _triple(size_px: int = 512) -> Triple:
    truth = np.zeros((size_px, size_px), np.int32)
    truth[: size_px // 2] = 2
    return Triple(np.full((size_px, size_px, 3), 77, np.uint8), truth, np.ones_like(truth))


def test_image_truth_and_mask_lie_side_by_side() -> None:
    sheet = np.asarray(contact_sheet([_triple()], _COLOURS))
    assert sheet[60, 60].tolist() == [77, 77, 77]
    assert sheet[20, 130 + 60].tolist() == [0, 0, 255]
    assert sheet[100, 130 + 60].tolist() == [40, 40, 40], "no label is dark"
    assert sheet[60, 260 + 60].tolist() == [255, 0, 0]


def test_four_scenes_fill_a_row() -> None:
    one_row, two_rows = (contact_sheet([_triple(128)] * count, _COLOURS) for count in (4, 5))
    assert two_rows.width == one_row.width
    assert two_rows.height - one_row.height == 128 + 10


def test_the_legend_names_every_label() -> None:
    sheet = contact_sheet([_triple(128)], _COLOURS)
    assert sheet.getpixel((5, sheet.height - 10)) == (255, 0, 0)
    assert sheet.getpixel((sheet.width // 8 + 5, sheet.height - 10)) == (0, 0, 255)


def test_masks_are_resized_without_inventing_labels() -> None:
    sheet: Image.Image = contact_sheet([_triple(512)], _COLOURS)
    truth = np.asarray(sheet.crop((130, 0, 258, 128))).reshape(-1, 3)
    assert len(np.unique(truth, axis=0)) == 2
