from dataclasses import replace

import numpy as np
import pytest

from ovdiff.bank.support import SupportImage, SupportSet
from ovdiff.calibration import JudgedRegion, fit_scores, fit_weights, scores_to_toml, support_regions
from ovdiff.presets import load_preset
from ovdiff.presets.segmenting_settings import RegionScoreWeights, ScoreSettings
from ovdiff.region_scores import RegionEvidence, probability
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary
from ovdiff.vocabulary.kinds import KindDecision

TRUE = RegionScoreWeights(intercept=-3.0, cosine=5.0, margin=8.0, log_area=0.3, log_presence=0.6, log_share=0.4)
WORDS = Vocabulary((Category("red"), Category("blue"), Category("sky")))


def drawn(count: int, seed: int, *, is_stuff: bool = False) -> list[JudgedRegion]:
    """Regions that are right as often as TRUE says."""
    rng = np.random.default_rng(seed)
    rows = rng.uniform([0.3, 0.0, -5.0, -6.0, -3.0], [1.0, 0.4, 0.0, 0.0, 0.0], (count, 5))
    found = [RegionEvidence(*row) for row in rows.tolist()]
    return [JudgedRegion(each, is_stuff, bool(rng.random() < probability(TRUE, each))) for each in found]


def test_a_fit_finds_how_likely_regions_are_right() -> None:
    fitted = fit_weights(drawn(4000, 1))
    others = [region.evidence for region in drawn(300, 2)]
    gaps = [probability(fitted, each) - probability(TRUE, each) for each in others]
    assert np.abs(gaps).max() < 0.1 and abs(np.mean(gaps)) < 0.02


def test_the_same_regions_give_the_same_weights_of_four_digits() -> None:
    fitted = fit_weights(drawn(200, 1))
    assert fitted == fit_weights(drawn(200, 1))
    assert all(float(f"{value:.4g}") == value for value in vars(fitted).values())


def test_evidence_that_is_the_same_for_all_regions_has_no_weight() -> None:
    regions = [replace(each, evidence=replace(each.evidence, log_presence=0.0)) for each in drawn(500, 1)]
    assert fit_weights(regions).log_presence == 0


@pytest.mark.parametrize(("right", "wrong", "score"), [(0, 0, 0.5), (9, 40, 0.196), (40, 0, 41 / 42), (0, 40, 1 / 42)])
def test_few_regions_give_their_share_to_all(right: int, wrong: int, score: float) -> None:
    regions = drawn(right + wrong, 3)
    regions = [replace(each, is_right=number < right) for number, each in enumerate(regions)]
    fitted = fit_weights(regions)
    assert fitted == RegionScoreWeights(fitted.intercept)
    assert probability(fitted, RegionEvidence(0.1, 0.1, -1.0)) == pytest.approx(score, abs=1e-3)


def test_things_and_stuff_are_fitted_apart() -> None:
    things, stuff = drawn(200, 1), drawn(100, 2, is_stuff=True)
    fitted = fit_scores([*things, *stuff])
    assert fitted == ScoreSettings("calibrated", fit_weights(things), fit_weights(stuff))


def test_the_table_is_read_as_it_was_written(tmp_path) -> None:  # type: ignore[no-untyped-def]
    fitted = fit_scores(drawn(200, 1))
    (tmp_path / "mine.toml").write_text('base = "fast"\n\n' + scores_to_toml(fitted))
    preset = load_preset(tmp_path / "mine.toml")
    assert preset == replace(load_preset("fast"), scores=fitted)
    assert preset.fingerprint() != load_preset("fast").fingerprint()


class Painter:
    """Paints the left half of each image in its own word if that is asked for, or else in the first word; a strip on
    the right in the last word."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def kinds(self, vocabulary: Vocabulary) -> tuple[KindDecision, ...]:
        names = (category.name for category in vocabulary.categories)
        return tuple(KindDecision(name, "stuff" if name == "sky" else "thing", "table") for name in names)

    def support_set(self, category: Category) -> SupportSet:
        image = np.full((4, 8, 3), WORDS.categories.index(category), dtype=np.uint8)
        foreground = np.zeros((4, 8), dtype=bool)
        foreground[:, :4] = True
        item = SupportImage(image, foreground.astype(np.float32), foreground, ~foreground)
        return SupportSet((item, replace(item, foreground=foreground & False)))

    def segment(self, image: np.ndarray, vocabulary: Vocabulary) -> Segmentation:
        names = tuple(category.name for category in vocabulary.categories)
        self.asked.append(names)
        own = WORDS.categories[int(image[0, 0, 0])].name
        labels = np.zeros((4, 8), dtype=np.int32)
        labels[:, :4] = names.index(own) + 1 if own in names else 1
        labels[:, 7] = len(names)
        scores = labels.astype(np.float32) / 10
        return Segmentation(labels, scores, scores)


def test_support_images_are_images_whose_truth_is_known() -> None:
    engine, told = Painter(), []
    regions = list(support_regions(engine, WORDS, lambda name, done: told.append((name, done))))
    assert (
        len(engine.asked) == 12
    )  # for each word: itself, another, itself with another, two others; no image without foreground
    assert {len(asked) for asked in engine.asked} == {1, 2}
    assert told[0] == ("red", 0.0) and told[-1] == ("done", 1.0)
    assert any(region.is_right for region in regions) and not all(region.is_right for region in regions)
    assert any(region.is_stuff for region in regions) and not all(region.is_stuff for region in regions)


def test_a_region_of_another_word_counts_only_inside_the_foreground() -> None:
    """The strip on the right may show anything: the generator drew it, and nobody asked for it."""
    engine = Painter()
    regions = list(support_regions(engine, WORDS))
    whole = np.log(20 / 32)  # the left half and the strip, if the same word has both
    areas = {round(float(region.evidence.log_area - np.log(1 / 32)), 3) for region in regions}
    assert round(float(np.log(4)), 3) not in areas  # the strip alone
    assert round(float(whole - np.log(1 / 32)), 3) in areas
