"""An evaluation of coloured squares by a quick engine."""

from pathlib import Path

import pytest

from backend.command.evaluation.examples import Example, examples_of
from ovdiff.evaluation.figures import ImageFigures
from ovdiff.evaluation.ranking import ranked_images
from ovdiff.evaluation.records import Records
from ovdiff.evaluation.result import Result, result_of
from ovdiff.evaluation.run import Failure, Protocol, Work, evaluate, run_identity
from ovdiff.evaluation.sums import totals_of
from tests.fakes.coloured_dataset import VOCABULARY, MakesEngine, Squares

PROTOCOL = Protocol((2,))


@pytest.fixture
def figures(tmp_path: Path) -> list[ImageFigures]:
    """The figures of twelve images."""
    engine, dataset = MakesEngine(tmp_path / "bank")(), Squares()()
    work = Work(lambda: engine, lambda: dataset, PROTOCOL)
    with Records(tmp_path / "records", run_identity(engine, dataset, PROTOCOL)) as records:
        evaluate(work, dataset.images, records, lambda _image, _failure: None)
        return list(records.figures(dataset.images))


@pytest.fixture
def result(tmp_path: Path, figures: list[ImageFigures]) -> Result:
    """Their result; a thirteenth image could not be evaluated."""
    engine, dataset = MakesEngine(tmp_path / "bank")(), Squares(13)()
    failed = (Failure("square-12", "It is <b>damaged</b>."),)
    totals = totals_of(figures, VOCABULARY.categories)
    done = tuple(each.image for each in figures)
    return result_of(engine, dataset, PROTOCOL, done, failed, totals, device="cpu", workers=1)


@pytest.fixture
def examples(tmp_path: Path, figures: list[ImageFigures]) -> tuple[Example, ...]:
    """The worst, median and best of them."""
    mious = totals_of(figures, VOCABULARY.categories).image_mious
    engine, dataset = MakesEngine(tmp_path / "bank")(), Squares()()
    return tuple(examples_of(engine, dataset, ranked_images(mious), mious))
