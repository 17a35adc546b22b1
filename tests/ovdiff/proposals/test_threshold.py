import numpy as np

from ovdiff.presets.building_settings import ProposalSettings
from ovdiff.proposals.threshold import fixed_thresholds, multi_otsu_thresholds, otsu_thresholds

SETTINGS = ProposalSettings()


def _two_levels(low: float, high: float) -> np.ndarray:
    levels = np.full((8, 8), low, np.float32)
    levels[2:5, 2:5] = high
    return levels + np.linspace(0, 0.05, 64, dtype=np.float32).reshape(8, 8)


def test_fixed_is_the_preset_s_pair() -> None:
    assert fixed_thresholds(np.zeros((2, 4, 4), np.float32), SETTINGS) == [(0.5, 0.2), (0.5, 0.2)]


def test_otsu_separates_each_image_by_itself() -> None:
    first, second = otsu_thresholds(np.stack([_two_levels(0.1, 0.6), _two_levels(0.4, 0.9)]), SETTINGS)
    assert 0.14 < first.foreground < 0.6
    assert 0.44 < second.foreground < 0.9
    assert first.background == min(0.2, first.foreground) and second.background == 0.2


def test_otsu_of_a_constant_map_is_the_fixed_pair() -> None:
    assert otsu_thresholds(np.zeros((1, 4, 4), np.float32), SETTINGS) == [(0.5, 0.2)]


def test_otsu_of_a_map_that_varies_by_rounding_alone_is_the_fixed_pair() -> None:
    attribution = np.full((1, 4, 4), 0.9, np.float32)
    attribution[0, 0, 0] = np.nextafter(np.float32(0.9), np.float32(1))
    assert otsu_thresholds(attribution, SETTINGS) == [(0.5, 0.2)]


def test_multi_otsu_gives_one_pair_to_the_whole_category() -> None:
    spread = np.linspace(0, 0.02, 64, dtype=np.float32).reshape(8, 8)
    maps = np.stack([spread + level for level in (0.1, 0.5, 0.9)]).astype(np.float32)
    pairs = multi_otsu_thresholds(maps, SETTINGS)
    assert len(set(pairs)) == 1 and len(pairs) == 3
    assert 0.1 < pairs[0].background < 0.5 < pairs[0].foreground < 0.9


def test_multi_otsu_falls_back_where_there_are_too_few_values() -> None:
    assert multi_otsu_thresholds(np.zeros((2, 4, 4), np.float32), SETTINGS) == [(0.5, 0.2)] * 2


def test_multi_otsu_looks_at_the_latent_grid_not_at_enlarged_maps() -> None:
    small = np.stack([_two_levels(0.2, 0.7), _two_levels(0.3, 0.5)]).repeat(8, axis=1).repeat(8, axis=2)
    large = small.repeat(8, axis=1).repeat(8, axis=2)  # 512 px
    large[:, ::2] += 0.1  # gone on average
    large[:, 1::2] -= 0.1
    found = multi_otsu_thresholds(large, SETTINGS)
    np.testing.assert_allclose(found, multi_otsu_thresholds(small, SETTINGS), atol=1e-5)


def test_multi_otsu_takes_any_size() -> None:
    maps = np.random.default_rng(0).uniform(size=(2, 150, 150)).astype(np.float32)
    background, foreground = sorted(multi_otsu_thresholds(maps, SETTINGS)[0])
    assert 0.3 < background < foreground < 0.7  # thirds of what averages of 3 x 3 vary over
