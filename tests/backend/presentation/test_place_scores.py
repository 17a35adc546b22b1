import pytest

from backend.presentation.place_scores import score_sentences
from ovdiff.segmentation import PlaceScores

NAMES = ("boat", "sky", "fish")


@pytest.mark.parametrize(
    ("scores", "least", "given", "truth", "says"),
    [
        ((0.4, 0.1, 0.02), 0.1, "boat", "sky", "boat has the highest score, 0.400, sky comes second with 0.100."),
        (
            (0.4, 0.1, 0.02),
            0.1,
            "boat",
            "fish",
            "boat has the highest score, 0.400, sky comes second with 0.100, fish, which is there, has 0.020.",
        ),
        (
            (0.1, 0.2, 0.02),
            0.5,
            "background",
            "sky",
            "sky has the highest score, 0.200, boat comes second with 0.100. A word needs 0.500 there, so it is "
            "background.",
        ),
        (
            (0.4, 0.1, 0.02),
            0.1,
            "boat",
            "background",
            "boat has the highest score, 0.400, sky comes second with 0.100. It would be background if no word had "
            "0.100.",
        ),
        (
            (0.4, 0.1, 0.02),
            -1.0,
            "sky",
            "background",
            "boat has the highest score, 0.400, sky comes second with 0.100. The clean-up of the labels made it sky.",
        ),
    ],
)
def test_the_winner_the_runner_up_and_what_is_there_are_told(
    scores: tuple[float, ...], least: float, given: str, truth: str, says: str
) -> None:
    assert score_sentences(PlaceScores(scores, least), NAMES, given, truth) == says


def test_a_word_alone_has_no_second() -> None:
    assert score_sentences(PlaceScores((0.4,), 0.1), ("boat",), "boat", "sky") == "boat has the highest score, 0.400."
