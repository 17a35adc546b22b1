import numpy as np

from backend.command.support_sheet import COLUMNS, TILE_PX, cut_out, draw_support_sheet, heat_map
from ovdiff.bank.support import SupportImage, SupportSet


def item(colour: tuple[int, int, int]) -> SupportImage:
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    image[:, :4] = colour
    foreground = image.any(axis=2)
    return SupportImage(image, foreground.astype(np.float32), foreground, ~foreground)


def test_the_sheet_has_a_column_an_image_and_goes_on_below() -> None:
    one = draw_support_sheet(SupportSet((item((255, 0, 0)),)), "title", ["seed 1"])
    many = draw_support_sheet(SupportSet((item((255, 0, 0)),) * (COLUMNS + 1)), "title", ["seed 1"] * (COLUMNS + 1))
    assert many.width - one.width == (COLUMNS - 1) * (TILE_PX + 4)
    assert many.height > 2 * 4 * TILE_PX > one.height > 4 * TILE_PX
    assert (255, 0, 0) in {colour for _, colour in one.getcolors(1 << 20)}


def test_a_long_title_and_several_lines_fit() -> None:
    support = SupportSet((item((255, 0, 0)),))
    short, wide = (draw_support_sheet(support, "a title " * n, ["seed"]) for n in (1, 60))
    assert wide.width > short.width
    assert draw_support_sheet(support, "a\nb", ["x\ny"]).height == short.height + 30


def test_more_attribution_is_brighter() -> None:
    image = np.full((1, 11, 3), 100, dtype=np.uint8)
    heat = heat_map(image, np.linspace(0, 1, 11, dtype=np.float32)[None])
    assert heat.dtype == np.uint8
    assert (np.diff(heat.sum(axis=2, dtype=np.int64)) > 0).all()


def test_what_is_outside_a_mask_is_nearly_white() -> None:
    image = np.zeros((1, 2, 3), dtype=np.uint8)
    assert cut_out(image, np.array([[True, False]])).tolist() == [[[0] * 3, [224] * 3]]
    assert (image == 0).all()
