"""An evaluation image by image: interrupted, in several processes, with images that fail."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ovdiff.bank import Bank
from ovdiff.engines import load_any_preset, make_engine
from ovdiff.errors import EvaluationError, MissingPrototypesError
from ovdiff.evaluation.dataset import Dataset, LabelledImage
from ovdiff.evaluation.datasets.drawn import USUAL
from ovdiff.evaluation.figures import ImageFigures
from ovdiff.evaluation.records import Records
from ovdiff.evaluation.run import Failure, Protocol, Work, evaluate, evaluate_image, run_identity
from ovdiff.evaluation.sums import Totals, totals_of
from ovdiff.odise.engine import OdiseEngine
from ovdiff.odise.preset import OdisePreset
from tests.fakes.coloured_dataset import SIZE_HW, VOCABULARY, MakesEngine, Squares
from tests.fakes.engine import FakeEngine
from tests.fakes.waiting import eventually


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(MakesEngine(tmp_path / "bank"), Squares(), Protocol((2,)), threads=0)


def without_seconds(figures: ImageFigures) -> ImageFigures:
    return replace(figures, seconds={})


def run(work: Work, folder: Path, images: int | None = None, workers: int = 1) -> tuple[Totals, tuple[Failure, ...]]:
    dataset, failed = work.dataset(), list[Failure]()
    names = dataset.images[:images]
    with Records(folder, run_identity(work.engine(), dataset, work.protocol)) as records:
        evaluate(work, names, records, lambda _, failure: failed.extend([failure] if failure else []), workers=workers)
        totals = totals_of(map(without_seconds, records.figures(names)), VOCABULARY.categories)
    return totals, tuple(failed)


def same(one: Totals, other: Totals) -> bool:
    np.testing.assert_array_equal(one.confusion, other.confusion)
    return str(replace(one, confusion=np.zeros(0))) == str(replace(other, confusion=np.zeros(0)))


def test_every_figure_of_an_image_is_found(work: Work) -> None:
    figures = evaluate_image(work.engine(), work.dataset(), "square-1", 1, work.protocol)
    assert figures.size_hw == SIZE_HW
    assert figures.segments
    assert figures.true is not None
    assert figures.found is not None
    assert len(figures.true) == len(figures.found) == 2
    assert {label for label, _ in figures.scores} == {2, 3}
    assert len(figures.small) == 3
    assert all(each.size == 2 for each in figures.small)
    assert set(figures.seconds) == {"read", "segment", "objects", "small vocabularies", "compare"}


def test_small_vocabularies_are_the_same_for_every_engine_and_differ_between_images(work: Work) -> None:
    judge = partial(evaluate_image, work.engine(), work.dataset(), "square-1", protocol=work.protocol)
    asked = [[label for label, _ in each.words] for each in judge(number=1).small]
    assert asked == [[label for label, _ in each.words] for each in judge(number=1).small]
    others = [[[label for label, _ in each.words] for each in judge(number=number).small] for number in range(2, 8)]
    assert any(asked != other for other in others)


def test_a_run_that_stopped_twice_equals_an_unbroken_one(work: Work, tmp_path: Path) -> None:
    whole, _ = run(work, tmp_path / "whole")
    for images in (3, 8, None):
        broken, _ = run(work, tmp_path / "broken", images)
    assert same(broken, whole)
    assert whole.images == 12


def test_images_that_are_there_are_not_evaluated_again(work: Work, tmp_path: Path) -> None:
    run(work, tmp_path / "out", 5)
    broken = replace(work, dataset=Squares(broken=("square-0", "square-4", "square-5")))
    totals, failed = run(broken, tmp_path / "out")
    assert [each.image for each in failed] == ["square-5"]
    assert totals.images == 11


def test_several_processes_find_the_digits_of_one(work: Work, tmp_path: Path) -> None:
    one, _ = run(work, tmp_path / "one")
    two, _ = run(work, tmp_path / "two", workers=2)
    assert same(one, two)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_image_that_cannot_be_read_is_told_and_the_others_are_evaluated(
    work: Work, tmp_path: Path, workers: int
) -> None:
    totals, failed = run(replace(work, dataset=Squares(broken=("square-2",))), tmp_path / "out", workers=workers)
    assert failed == (Failure("square-2", "The picture of square-2 is damaged."),)
    assert totals.images == 11
    mended, failed = run(work, tmp_path / "out")
    assert failed == ()
    assert same(mended, run(work, tmp_path / "unbroken")[0])


def test_a_process_that_is_killed_is_told_and_what_was_evaluated_stays(work: Work, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"ended without an answer.* run the command again"):
        run(replace(work, dataset=Squares(kills="square-11")), tmp_path / "out", workers=2)
    with Records(tmp_path / "out", run_identity(work.engine(), work.dataset(), work.protocol)) as records:
        there = [image for image in work.dataset().images if image in records]
    assert "square-0" in there
    totals, _ = run(work, tmp_path / "out")
    assert same(totals, run(work, tmp_path / "unbroken")[0])


def test_processes_end_with_their_caller(tmp_path: Path) -> None:
    code = (
        "import multiprocessing, os, signal, sys\n"
        "from pathlib import Path\n"
        "from ovdiff.evaluation.records import Records\n"
        "from ovdiff.evaluation.run import Protocol, Work, evaluate\n"
        "from tests.fakes.coloured_dataset import MakesEngine, Squares\n"
        "if __name__ == '__main__':\n"
        "    work = Work(MakesEngine(Path(sys.argv[1])), Squares(200), Protocol(), threads=0)\n"
        "    with Records(Path(sys.argv[1]) / 'out', {}) as records:\n"
        "        def report(image, failure):\n"
        "            print(*(child.pid for child in multiprocessing.active_children()), flush=True)\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        evaluate(work, work.dataset().images, records, report, workers=2)\n"
    )
    script = tmp_path / "script.py"
    script.write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    with (tmp_path / "said").open("w") as said:  # A pipe would be held open by processes that are left over.
        command = [sys.executable, str(script), str(tmp_path)]
        run = subprocess.run(command, stdout=said, stderr=subprocess.STDOUT, check=False, env=environment)
    said_text = (tmp_path / "said").read_text()
    assert run.returncode == -signal.SIGKILL, said_text
    children = [int(each) for each in said_text.split()]
    assert len(children) == 2
    assert eventually(lambda: not any(Path(f"/proc/{child}").exists() for child in children), timeout_s=30)


def test_objects_are_compared_where_the_truth_has_no_segments(work: Work) -> None:
    dataset = work.dataset()

    def read(name: str) -> LabelledImage:
        found = dataset.read(name)
        return replace(found, truth=replace(found.truth, segments=None))

    figures = evaluate_image(work.engine(), replace(dataset, read=read), "square-1", 1, Protocol())
    assert figures.segments is None
    assert figures.found is not None
    assert len(figures.found) == 2


def test_what_changes_no_mask_does_not_refuse_to_go_on(tmp_path: Path) -> None:
    engine = OdiseEngine(preset := load_any_preset("odise_tinyworld"))  # type: ignore[arg-type]
    assert isinstance(preset, OdisePreset)
    other = OdiseEngine(replace(preset, cache=replace(preset.cache, images=preset.cache.images + 1), name="mine"))
    dataset = USUAL.open(tmp_path)
    assert run_identity(engine, dataset, Protocol()) == run_identity(other, dataset, Protocol())


def test_missing_prototypes_end_the_run(work: Work, tmp_path: Path) -> None:
    with pytest.raises(MissingPrototypesError):
        run(replace(work, engine=partial(FakeEngine, tmp_path / "empty")), tmp_path / "out")


def test_the_identity_follows_everything_that_decides_the_figures(work: Work) -> None:
    engine, dataset = work.engine(), work.dataset()

    def identity(engine: FakeEngine, dataset: Dataset, protocol: Protocol) -> str:
        return str(run_identity(engine, dataset, protocol))

    first = identity(engine, dataset, Protocol())  # type: ignore[arg-type]
    others = [
        identity(replace(engine, name="other"), dataset, Protocol()),  # type: ignore[type-var]
        identity(engine, replace(dataset, name="other"), Protocol()),  # type: ignore[arg-type]
        identity(engine, replace(dataset, vocabulary=USUAL.vocabulary), Protocol()),  # type: ignore[arg-type]
        identity(engine, replace(dataset, counts_background=False), Protocol()),  # type: ignore[arg-type]
        identity(engine, dataset, Protocol((2,))),  # type: ignore[arg-type]
    ]
    assert len({first, *others}) == 6
    assert identity(work.engine(), work.dataset(), Protocol()) == first  # type: ignore[arg-type]


@pytest.mark.slow
def test_the_identity_follows_the_lessons_that_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(load_any_preset("tinyworld"), Bank(tmp_path), "cpu")
    before = run_identity(engine, USUAL.open(Path()), Protocol())["engine"]
    monkeypatch.setattr(type(engine), "lessons_version", lambda _self, _vocabulary: "taught")
    assert run_identity(engine, USUAL.open(Path()), Protocol())["engine"] == f"{before}-lessons-taught"
