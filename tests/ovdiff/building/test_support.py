import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ovdiff.building.support import choose_masks, threshold_masks
from ovdiff.presets import load_preset
from ovdiff.presets.building_settings import SupportSettings
from ovdiff.proposals.threshold import Thresholds

FALLBACK = Thresholds(0.5, 0.2)
PLAIN = SupportSettings(background_max=1.0, erode_background=False)


def _ramp() -> np.ndarray:
    """Attribution 8 x 8: 0.9 in the left half, 0.1 in the right."""
    attribution = np.full((8, 8), 0.1, np.float32)
    attribution[:, :4] = 0.9
    return attribution


def _masks(*columns: slice) -> np.ndarray:
    masks = np.zeros((len(columns), 8, 8), dtype=bool)
    for mask, span in zip(masks, columns, strict=True):
        mask[:, span] = True
    return masks


def test_eq_1_takes_the_highest_and_the_lowest_mean_attribution() -> None:
    foreground, background = choose_masks(_ramp(), _masks(slice(0, 3), slice(5, 8)), PLAIN, FALLBACK)
    np.testing.assert_array_equal(foreground, _masks(slice(0, 3))[0])
    np.testing.assert_array_equal(background, _masks(slice(5, 8))[0])


def test_what_no_proposal_covers_is_a_candidate() -> None:
    foreground, background = choose_masks(_ramp(), _masks(slice(0, 4)), PLAIN, FALLBACK)
    np.testing.assert_array_equal(foreground, _masks(slice(0, 4))[0])
    np.testing.assert_array_equal(background, _masks(slice(4, 8))[0])


def test_pixels_of_two_masks_belong_to_the_one_with_the_higher_score() -> None:
    foreground, background = choose_masks(_ramp(), _masks(slice(0, 4), slice(2, 8)), PLAIN, FALLBACK)
    np.testing.assert_array_equal(foreground, _masks(slice(0, 4))[0])
    np.testing.assert_array_equal(background, _masks(slice(4, 8))[0])


def test_background_belongs_to_the_lowest_mask_that_owns_a_pixel() -> None:
    hidden = _masks(slice(0, 4), slice(0, 8))  # a third mask, wholly covered by better ones
    hidden = np.concatenate([hidden, _masks(slice(3, 4))])
    _, background = choose_masks(_ramp(), hidden, PLAIN, FALLBACK)
    np.testing.assert_array_equal(background, _masks(slice(4, 8))[0])


def test_background_is_thresholded_and_eroded_and_foreground_is_not() -> None:
    attribution = _ramp()
    attribution[3, 6] = 0.3
    foreground, background = choose_masks(attribution, _masks(slice(0, 4)), SupportSettings(), FALLBACK)
    np.testing.assert_array_equal(foreground, _masks(slice(0, 4))[0])
    expected = np.zeros((8, 8), dtype=bool)
    expected[1:7, 5:7] = True  # one pixel off each side of columns 4 to 7, image border included
    expected[2:5, 6] = False  # the cross around the pixel above 0.2
    expected[3, 5] = False
    np.testing.assert_array_equal(background, expected)


def test_under_paper_the_border_of_the_image_is_not_eroded() -> None:
    paper = load_preset("paper").support
    _, background = choose_masks(_ramp(), _masks(slice(0, 4)), paper, FALLBACK)
    np.testing.assert_array_equal(background, _masks(slice(5, 8))[0])  # one column less, at the foreground alone


def test_one_mask_over_everything_leaves_no_background() -> None:
    foreground, background = choose_masks(_ramp(), _masks(slice(0, 8)), PLAIN, FALLBACK)
    assert foreground.all() and not background.any()


def test_nothing_proposed_falls_back_to_thresholds_without_erosion() -> None:
    for proposals in (np.zeros((0, 8, 8), bool), np.zeros((2, 8, 8), bool)):
        foreground, background = choose_masks(_ramp(), proposals, SupportSettings(), FALLBACK)
        np.testing.assert_array_equal(foreground, _masks(slice(0, 4))[0])
        np.testing.assert_array_equal(background, _masks(slice(4, 8))[0])


def test_empty_proposals_are_skipped() -> None:
    with_empty = np.concatenate([np.zeros((1, 8, 8), bool), _masks(slice(0, 4))])
    foreground, _ = choose_masks(_ramp(), with_empty, PLAIN, FALLBACK)
    np.testing.assert_array_equal(foreground, _masks(slice(0, 4))[0])


def _by_definition(
    attribution: np.ndarray, proposals: np.ndarray, settings: SupportSettings
) -> tuple[np.ndarray, np.ndarray]:
    """A.4 pixel by pixel, as the released code is described: argmax of mask times score, for J > 0."""
    size = len(attribution)
    candidates = [[[not any(m[y][x] for m in proposals) for x in range(size)] for y in range(size)], *proposals]
    inside = [[(y, x) for y in range(size) for x in range(size) if mask[y][x]] for mask in candidates]
    scored = [(sum(float(attribution[p]) for p in pixels) / len(pixels), set(pixels)) for pixels in inside if pixels]
    scored.sort(key=lambda pair: -pair[0])
    foreground, low = np.zeros((size, size), bool), np.zeros((size, size), bool)
    owner = {
        (y, x): max((score * ((y, x) in pixels), -rank) for rank, (score, pixels) in enumerate(scored))[1]
        for y in range(size)
        for x in range(size)
    }
    last = min(owner.values())
    for pixel, rank in owner.items():
        foreground[pixel] = rank == 0
        low[pixel] = last < 0 and rank == last and attribution[pixel] < settings.background_max
    if not settings.erode_background:
        return foreground, low
    eroded = np.zeros_like(low)
    for y in range(size):
        for x in range(size):
            cross = [(y, x), (y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            inside_image = [0 <= v < size and 0 <= u < size for v, u in cross]
            pairs = zip(cross, inside_image, strict=True)
            eroded[y, x] = all(low[place] if inside else not settings.erode_border for place, inside in pairs)
    return foreground, eroded


@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 4),
    share=st.sampled_from([0.1, 0.5, 0.9]),
    background_max=st.sampled_from([0.2, 0.6, 1.0]),
    erode=st.booleans(),
    border=st.booleans(),
)
def test_eq_1_and_its_refinements_pixel_by_pixel(
    seed: int, count: int, share: float, background_max: float, erode: bool, border: bool
) -> None:
    random = np.random.default_rng(seed)
    attribution = random.random((7, 7), dtype=np.float32)
    proposals = random.random((count, 7, 7)) < share
    if not proposals.any():
        return
    settings = SupportSettings(background_max=background_max, erode_background=erode, erode_border=border)
    found = choose_masks(attribution, proposals, settings, FALLBACK)
    np.testing.assert_array_equal(found, _by_definition(attribution, proposals, settings))


@given(
    attribution=npst.arrays(np.float32, (6, 6), elements=st.floats(0, 1, width=32)),
    proposals=npst.arrays(bool, npst.array_shapes(min_dims=3, max_dims=3, min_side=6, max_side=6)),
)
def test_foreground_and_background_never_overlap(attribution: np.ndarray, proposals: np.ndarray) -> None:
    before = proposals.copy()
    foreground, background = choose_masks(attribution, proposals, SupportSettings(), FALLBACK)
    assert not (foreground & background).any()
    assert foreground.any() or not proposals.any()
    np.testing.assert_array_equal(proposals, before)


def test_threshold_masks_exclude_the_thresholds_themselves() -> None:
    foreground, background = threshold_masks(np.array([[0.5, 0.6, 0.2, 0.1]], np.float32), Thresholds(0.5, 0.2))
    np.testing.assert_array_equal(foreground, [[False, True, False, False]])
    assert background[0, 3] and not background[0, :2].any()
