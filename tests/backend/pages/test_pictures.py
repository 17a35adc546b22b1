import io

import numpy as np
from PIL import Image

from backend.pages.pictures import HALO, LINE, Kept, outlined, support_pictures, to_png
from ovdiff.bank.support import SupportImage, SupportSet


def square(side_px: int = 64) -> tuple[np.ndarray, np.ndarray]:
    image = np.full((side_px, side_px, 3), (30, 90, 200), dtype=np.uint8)
    mask = np.zeros((side_px, side_px), dtype=np.bool_)
    mask[side_px // 4 : -side_px // 4, side_px // 4 : -side_px // 4] = True
    return image, mask


def item(number: int) -> SupportImage:
    image, mask = square()
    return SupportImage(image, mask.astype(np.float32), mask, ~mask, number=number)


def test_a_line_with_a_halo_runs_around_the_mask_and_nothing_else_changes() -> None:
    image, mask = square()
    found = outlined(image, mask, side_px=256)
    assert found.shape == (256, 256, 3)
    is_line, is_halo = (found == LINE).all(axis=2), (found == HALO).all(axis=2)
    rows = np.flatnonzero(is_line.any(axis=1))
    assert abs(rows[0] - 64) <= 1 and abs(rows[-1] - 191) <= 1
    assert not is_line[70:186, 70:186].any(), "inside the object is seen as it is"
    assert is_halo.any() and not is_halo[64:192, 64:192].any()
    assert (found[~is_line & ~is_halo] == (30, 90, 200)).all()


def test_an_image_that_is_not_square_keeps_its_proportions_and_an_empty_mask_has_no_line() -> None:
    image = np.zeros((30, 60, 3), dtype=np.uint8)
    found = outlined(image, np.zeros((30, 60), dtype=np.bool_), side_px=100)
    assert found.shape == (50, 100, 3)
    assert not found.any()


def test_images_that_are_left_out_are_grey() -> None:
    found = support_pictures(SupportSet((item(0),), rejected=(item(1),)))
    used, left_out = (np.asarray(Image.open(io.BytesIO(found[number]))).astype(int) for number in (0, 1))
    grey = (np.ptp(left_out, axis=2) <= 1).mean()
    assert grey > 0.9 and (np.ptp(used, axis=2) <= 1).mean() < 0.1
    assert left_out.mean() > used.mean() + 40, "and pale"


def test_what_was_made_last_is_kept() -> None:
    made: list[str] = []
    kept: Kept[str] = Kept(2)

    def of(key: str) -> str:
        return kept.of(key, lambda: made.append(key) or key)  # type: ignore[func-returns-value]

    assert [of(key) for key in "aabacb"] == list("aabacb")
    assert made == ["a", "b", "c", "b"], "a was used after b, so b gave way to c"


def test_a_picture_is_a_png() -> None:
    assert to_png(square()[0]).startswith(b"\x89PNG")
