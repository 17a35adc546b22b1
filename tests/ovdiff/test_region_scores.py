import pytest

from ovdiff.presets.segmenting_settings import RegionScoreWeights, ScoreSettings
from ovdiff.region_scores import LEAST_SHARE, RegionEvidence, RegionScoring, log_share, probability

WEIGHTS = RegionScoreWeights(intercept=-1.0, cosine=2.0, margin=10.0, log_area=0.5, log_presence=1.0, log_share=0.2)
EVIDENCE = RegionEvidence(cosine=0.8, margin=0.1, log_area=-2.0, log_presence=-0.5, log_share=-1.0)


def test_a_probability_is_the_logistic_function_of_the_weighed_evidence() -> None:
    # -1 + 2 * 0.8 + 10 * 0.1 + 0.5 * -2 + 1 * -0.5 + 0.2 * -1 = -0.1
    assert probability(WEIGHTS, EVIDENCE) == pytest.approx(0.4750208)
    assert probability(RegionScoreWeights(), EVIDENCE) == 0.5


@pytest.mark.parametrize(("intercept", "expected"), [(-1e9, 0.0), (1e9, 1.0), (-800.0, 0.0), (800.0, 1.0)])
def test_no_weight_is_too_large_for_a_probability(intercept: float, expected: float) -> None:
    assert probability(RegionScoreWeights(intercept), EVIDENCE) == pytest.approx(expected, abs=1e-12)


def test_things_and_stuff_have_weights_of_their_own() -> None:
    settings = ScoreSettings("calibrated", things=WEIGHTS, stuff=RegionScoreWeights())
    scoring = RegionScoring(settings, ("boat", "sky"), stuff=frozenset([1]))
    assert scoring.score(0, EVIDENCE) == pytest.approx(0.4750208)
    assert scoring.score(1, EVIDENCE) == 0.5


def test_the_mean_cosine_is_still_to_be_had() -> None:
    assert RegionScoring(ScoreSettings(things=WEIGHTS), ("boat",), frozenset()).score(0, EVIDENCE) == 0.8


def test_a_share_of_zero_has_a_logarithm() -> None:
    assert log_share(0.0) == log_share(LEAST_SHARE) < log_share(1.0) == 0.0
