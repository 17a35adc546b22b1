import numpy as np

from ovdiff.bank.support import SupportImage, SupportSet


def test_support_set_counts_images_that_show_the_category() -> None:
    def image(value: bool) -> SupportImage:
        mask = np.full((2, 2), value)
        return SupportImage(np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.float32), mask, ~mask)

    assert SupportSet((image(True), image(False), image(True))).with_foreground() == 2
