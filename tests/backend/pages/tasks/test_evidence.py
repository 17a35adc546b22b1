"""Why a pixel has its label, as the page tells it, without HTTP."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.errors import RequestError
from backend.pages.served_pictures import ServedPictures
from backend.pages.tasks.evidence import Evidence, evidence
from backend.serving.service import Service
from ovdiff.explaining.explanation import Explanation
from ovdiff.vocabulary import Vocabulary
from tests.fakes.engine import SCORE, FakeEngine
from tests.fakes.explaining_engine import ExplainingEngine, ScoringEngine
from tests.fakes.explanations import explanation, taught

RED, GREY = (16, 24), (0, 0)


def told(service: Service, place: tuple[int, int], engine: FakeEngine | None = None) -> Evidence:
    with service.looking.opened(1, 4) as sight:
        return evidence(sight, place, engine or service.engine, ServedPictures(), (64, 48))


def test_winner_runner_up_margin_and_support_regions_are_told(service: Service) -> None:
    found = told(service, RED)
    assert (found.x, found.y, found.label) == (16, 24, "red")
    why = found.why
    assert why is not None
    assert why.verdict.startswith("By 2 votes boat has 0.700, and fox (an anchor) 0.600: a lead of 0.100.")
    assert (why.winner, why.runner_up, round(why.margin, 3)) == ("boat", "fox", 0.1)
    fox, boat = why.finalists
    assert fox.is_anchor
    assert fox.role == "best of the others by votes, the label in the end"
    assert boat.name == "boat"
    part = boat.prototypes[0]
    assert (part.title, part.extractor) == ("part 12 of boat", "clip")
    assert [(tile.number, tile.share) for tile in part.tiles] == [(3, 0.5), (0, 0.5)]
    assert fox.prototypes[0].missing == "Its support images cannot be shown. They were removed."
    assert why.clip.startswith("In this part of the image, boat by its pixels")
    assert why.removed[0].startswith("car: its cosine with the image is 0.200")


def test_the_step_that_changed_the_label_is_marked(service: Service) -> None:
    why = told(service, RED).why
    assert why is not None
    assert why.rivals == ("boat", "fox")
    assert [(step.name, step.label, step.has_changed) for step in why.steps] == [
        ("votes", "boat", False),
        ("PAMR", "boat", False),
        ("part check", "background", True),
    ]
    assert why.steps[0].scores == ("0.700", "0.600")
    assert all(step.what for step in why.steps)


def test_what_lessons_say_is_told_and_a_score_that_must_not_win_is_out(service: Service) -> None:
    class Taught(ExplainingEngine):
        def explain(self, encoded: NDArray[np.uint8], vocabulary: Vocabulary, where: object) -> Explanation:
            first = replace(explanation().stages[0], scores=(0.3, 0.7, -1.0))
            return replace(explanation(), taught=taught(), stages=(first,), runner_up=None, named=1)

    why = told(service, RED, Taught(service.engine.folder)).why  # type: ignore[attr-defined]
    assert why is not None
    assert why.taught[0].startswith("3 lessons say")
    assert why.runner_up == ""
    with_fox = replace(explanation(), stages=(replace(explanation().stages[0], scores=(0.3, 0.7, -1.0)),))

    class Out(ExplainingEngine):
        def explain(self, encoded: NDArray[np.uint8], vocabulary: Vocabulary, where: object) -> Explanation:
            return with_fox

    out = told(service, RED, Out(service.engine.folder)).why  # type: ignore[attr-defined]
    assert out is not None
    assert out.steps[0].scores == ("0.700", "out")


def test_an_engine_that_scores_places_tells_the_words_scores(service: Service) -> None:
    found = told(service, RED, ScoringEngine(service.engine.folder))  # type: ignore[attr-defined]
    assert found.why is None
    assert found.claims is not None
    assert found.claims.least == 0.25
    assert [score for _, score in found.claims.words] == sorted(
        (score for _, score in found.claims.words), reverse=True
    )
    assert {name for name, _ in found.claims.words} == {"red", "blue", "<i>green"}


def test_an_engine_that_can_do_neither_still_tells_label_score_and_margin(service: Service) -> None:
    found = told(service, RED, FakeEngine(service.engine.folder))  # type: ignore[attr-defined]
    assert (found.why, found.claims) == (None, None)
    assert (found.label, found.score, found.margin) == ("red", SCORE, SCORE / 2)


def test_the_smart_keypoint_gives_the_part_under_the_place(service: Service) -> None:
    click = told(service, RED).click
    assert click is not None
    assert (click.label, click.score) == ("red", SCORE)
    assert click.share == pytest.approx(0.125)
    assert told(service, GREY).click is None


@pytest.mark.parametrize("place", [(64, 0), (0, 48), (-1, 0), (10**8, 10**8)])
def test_a_place_outside_the_image_is_refused_in_words(service: Service, place: tuple[int, int]) -> None:
    with pytest.raises(RequestError, match="lies outside the image of 64 x 48 px: x goes from 0 to 63"):
        told(service, place)
