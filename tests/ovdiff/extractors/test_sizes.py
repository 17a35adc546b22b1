from ovdiff.extractors.sizes import purpose_size_hw, square_hw
from ovdiff.presets import load_preset
from ovdiff.presets.part_settings import DinoFeatureSettings


def test_stretch_is_a_square_of_whole_patches() -> None:
    assert square_hw(64, 8) == (64, 64)
    assert square_hw(70, 16) == (64, 64)
    assert square_hw(3, 8) == (8, 8)


def _kept(size_hw: tuple[int, int]) -> tuple[int, int]:
    settings = DinoFeatureSettings(aspect="keep", window_px=448, max_long_side_px=800)
    return purpose_size_hw(size_hw, settings, "window", 8)


def test_keep_leaves_small_images_and_shrinks_large_ones() -> None:
    assert _kept((336, 336)) == (336, 336)
    assert _kept((448, 597)) == (448, 600)
    assert _kept((896, 1194)) == (448, 600)
    assert _kept((1, 90)) == (8, 88)


def test_keep_bounds_the_long_side_of_a_panorama() -> None:
    """A whole image of 448 x 2,048 px was 14,336 patches; the released code stops at 800 px (A.11)."""
    assert _kept((448, 896)) == (400, 800)
    assert _kept((448, 2048)) == (176, 800)
    assert _kept((2048, 448)) == (800, 176)
    assert _kept((4096, 896)) == (800, 176)


def test_support_images_are_square_and_so_are_stretched_windows() -> None:
    settings = DinoFeatureSettings(aspect="stretch", support_px=100, window_px=50)
    assert purpose_size_hw((300, 700), settings, "window", 8) == (48, 48)
    for aspect in ("stretch", "keep"):
        settings = DinoFeatureSettings(aspect=aspect, support_px=100, window_px=50)
        assert purpose_size_hw((300, 700), settings, "support", 8) == (96, 96)


def test_under_paper_a_kept_window_is_not_stretched_to_whole_patches() -> None:
    dino = load_preset("paper").extractors.dino
    assert purpose_size_hw((448, 597), dino, "window", 8) == (448, 597)  # 74 columns of patches; 5 px are cut off
    assert purpose_size_hw((500, 667), dino, "window", 8) == (448, 597)
    assert purpose_size_hw((448, 2048), dino, "window", 8) == (175, 800)
    assert purpose_size_hw((2048, 448), dino, "window", 8) == (800, 175)
    assert purpose_size_hw((3, 90), dino, "window", 8) == (8, 90)
    assert purpose_size_hw((448, 597), dino, "support", 8) == (512, 512)
