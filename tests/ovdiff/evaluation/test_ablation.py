"""An ablation run: on models that need no prototypes, and, with few images, on the method itself."""

import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters.errors import WorkersError
from ovdiff.bank import Bank
from ovdiff.engines import EnginePreset, load_any_preset, make_engine
from ovdiff.errors import DatasetError, SupportError
from ovdiff.evaluation import ablation as module
from ovdiff.evaluation.ablation import Ablation, possible_jobs, run_ablation
from ovdiff.evaluation.ablation_judge import Found, Item, Judge, JudgeElsewhere
from ovdiff.evaluation.dataset import Dataset, LabelledImage
from ovdiff.evaluation.datasets.drawn import USUAL
from ovdiff.evaluation.figures import ImageFigures
from ovdiff.evaluation.records import read_records
from ovdiff.evaluation.result import read_result
from ovdiff.evaluation.rows import changed, variants
from ovdiff.evaluation.run import Protocol, evaluate_image
from ovdiff.evaluation.shared_work import Engines, groups_of, jobs_of
from ovdiff.vocabulary import Vocabulary

WORDS = 3


@dataclass
class Scenes:
    """Two drawn scenes of few words; one can fail, or end the run as Ctrl-C does."""

    broken: str = ""
    interrupts: str = ""

    def dataset(self) -> Dataset:
        drawn = USUAL.open(Path())
        vocabulary = Vocabulary(drawn.vocabulary.categories[:WORDS])
        return replace(drawn, vocabulary=vocabulary, images=drawn.images[:2], read=self.read)

    def read(self, name: str) -> LabelledImage:
        if name == self.interrupts:
            raise KeyboardInterrupt
        if name == self.broken:
            raise DatasetError(f"The picture of {name} is damaged.")
        labelled = USUAL.open(Path()).read(name)
        labels = np.where(labelled.truth.label_map <= WORDS, labelled.truth.label_map, 0)
        truth = replace(labelled.truth, label_map=labels, segments=None, objects=None)
        return replace(labelled, truth=truth)


def ablation(
    folder: Path, preset: EnginePreset, rows: Sequence[str], scenes: Scenes, seeds: Sequence[int] = (42,)
) -> Ablation:
    bank, dataset = Bank(folder / "bank"), scenes.dataset()
    engines = Engines(make_engine(preset, bank, "cpu"), bank, "cpu")
    found, _ = variants(preset, rows)
    jobs = jobs_of(found, seeds, folder / "out")
    return Ablation(jobs, groups_of(jobs, engines), dataset, dataset.images, engines)


def digits(folder: Path) -> list[ImageFigures]:
    return [replace(each, seconds={}) for each in read_records(folder)]


def quietly(_what: str, _done: float) -> None:
    """Report nothing."""


@pytest.fixture
def naclip() -> EnginePreset:
    return changed(load_any_preset("naclip_tinyworld"), {"refine": {"pamr": False}}, "naclip_tinyworld")


def test_an_interrupted_ablation_goes_on_to_the_digits_of_an_unbroken_one(tmp_path: Path, naclip: EnginePreset) -> None:
    whole = ablation(tmp_path / "whole", naclip, ["pamr", "no-windows"], Scenes())
    told: list[float] = []
    run_ablation(whole, lambda _what, done: told.append(done))
    assert sum(told) == 6
    with pytest.raises(KeyboardInterrupt):
        run_ablation(ablation(tmp_path / "cut", naclip, ["pamr", "no-windows"], Scenes(interrupts="test-1")), quietly)
    told.clear()
    cut = ablation(tmp_path / "cut", naclip, ["pamr", "no-windows"], Scenes())
    run_ablation(cut, lambda _what, done: told.append(done))
    assert sum(told) < 6
    for one, other in zip(whole.jobs, cut.jobs, strict=True):
        assert digits(one.folder) == digits(other.folder)
        assert read_result(one.folder).measures == read_result(other.folder).measures
    assert digits(whole.jobs[0].folder) != digits(whole.jobs[1].folder)


def test_an_image_is_encoded_once_for_rows_that_share_it(
    tmp_path: Path, naclip: EnginePreset, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ablation(tmp_path, naclip, ["pamr"], Scenes())
    encode, encoded = type(made.engines.first).encode, list[str]()  # type: ignore[attr-defined]

    def counted(self: Any, image: Any) -> Any:
        encoded.append(self.preset.name)
        return encode(self, image)

    monkeypatch.setattr(type(made.engines.first), "encode", counted)
    run_ablation(made, quietly)
    assert len(made.jobs) == 2
    assert encoded == ["naclip_tinyworld"] * 2


def test_an_image_that_cannot_be_read_fails_in_every_row_and_the_others_are_there(
    tmp_path: Path, naclip: EnginePreset
) -> None:
    made = ablation(tmp_path, naclip, ["pamr"], Scenes(broken="test-0"))
    done = run_ablation(made, quietly)
    assert [failures[0].why for failures in done.failed.values()] == ["The picture of test-0 is damaged."] * 2
    assert read_result(made.jobs[0].folder).images == ("test-1",)
    assert read_result(made.jobs[1].folder).failed[0]["image"] == "test-0"


@pytest.mark.slow
def test_several_processes_give_the_digits_of_one(tmp_path: Path, naclip: EnginePreset) -> None:
    scenes, told = Scenes(broken="test-4"), list[float]()
    alone, several = (_of_six(ablation(tmp_path / name, naclip, ["no-windows"], scenes)) for name in ("one", "two"))
    run_ablation(alone, quietly)
    done = run_ablation(replace(several, workers=2, open=partial(_six, scenes)), lambda _what, done: told.append(done))
    assert sum(told) == 12 and [len(failures) for failures in done.failed.values()] == [1, 1]
    for one, other in zip(alone.jobs, several.jobs, strict=True):
        assert len(digits(one.folder)) == 5 and digits(one.folder) == digits(other.folder)
        assert read_result(one.folder).measures == read_result(other.folder).measures
        assert read_result(other.folder).machine["workers"] == 2


def _six(scenes: Scenes) -> Dataset:
    return replace(scenes.dataset(), images=USUAL.open(Path()).images[:6])


def _of_six(made: Ablation) -> Ablation:
    dataset = replace(made.dataset, images=USUAL.open(Path()).images[:6])
    return replace(made, dataset=dataset, images=dataset.images)


def test_a_process_that_ends_is_told_and_what_was_evaluated_stays(
    tmp_path: Path, naclip: EnginePreset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers the first image as a process does, and then has none."""

    def ended(judge: JudgeElsewhere, items: Sequence[Item], workers: int) -> Iterator[Found]:
        assert pickle.loads(pickle.dumps(judge)).groups == judge.groups and workers == 2
        yield Judge(made.engines, made.dataset, judge.groups, judge.protocol)(items[0])
        raise WorkersError("one ended before")

    monkeypatch.setattr(module, "ordered_map", ended)
    scenes, told = Scenes(), list[float]()
    made = replace(ablation(tmp_path, naclip, ["no-windows"], scenes), workers=2, open=partial(_six, scenes))
    with pytest.raises(WorkersError, match="one ended before"):
        run_ablation(made, lambda _what, done: told.append(done))
    assert sum(told) == 1 and len(digits(made.jobs[0].folder)) == 1


@pytest.mark.slow
def test_rows_of_the_method_have_the_digits_that_an_evaluation_gives_them(tmp_path: Path) -> None:
    changes = {
        "generation": {"images": 2, "steps": 2},
        "anchors": {"words": [], "prototypes": []},
        "prototypes": {"parts": 2},
        "cache": {"disk_mib": 0},
    }
    quick = changed(load_any_preset("tinyworld"), changes, "quick")
    made = ablation(tmp_path, quick, ["clip", "paper-clip", "n-1"], Scenes())
    run_ablation(made, quietly)
    for job in made.jobs:
        engine = made.engines.of(job.preset)
        alone = evaluate_image(engine, made.dataset, "test-1", 1, Protocol())
        assert digits(job.folder)[1] == replace(alone, seconds={}), job.name
    assert [job.row.name for job in made.jobs] == ["full", "paper", "paper-clip", "clip", "n-1"]
    assert len({str(digits(job.folder)) for job in made.jobs}) == 5


def test_a_row_that_cannot_be_built_is_named_and_the_others_go_on(
    tmp_path: Path, naclip: EnginePreset, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = ablation(tmp_path, naclip, ["pamr"], Scenes())

    def build(_ablation: Ablation, job: Any) -> str:
        return "" if job.row.name == "full" else "ball: No support image of 'ball' has any foreground."

    monkeypatch.setattr(module, "_build", build)
    done = run_ablation(made, quietly)
    assert [job.row.name for job in done.not_built] == ["pamr"]
    assert not (made.jobs[1].folder / "result.json").exists()
    assert read_result(made.jobs[0].folder).images


def test_building_says_which_word_has_no_prototypes(tmp_path: Path, naclip: EnginePreset) -> None:
    made = ablation(tmp_path, naclip, [], Scenes())

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(made.engines.first, name)

        def has(self, _category: object) -> bool:
            return False

        def build(self, _category: object) -> None:
            raise SupportError("No image has a foreground.")

    class Makes:
        bank = made.engines.bank

        def of(self, _preset: object) -> Failing:
            return Failing()

    failing = replace(made, engines=Makes())  # type: ignore[arg-type]
    assert module._build(failing, made.jobs[0]) == "ball: No image has a foreground."


def test_no_lessons_is_a_row_only_if_there_are_some(tmp_path: Path) -> None:
    made = ablation(tmp_path, load_any_preset("tinyworld"), ["no-lessons", "sd"], Scenes())
    jobs, left_out = possible_jobs(made.jobs, made.engines, made.dataset)
    assert [job.row.name for job in jobs] == ["full", "sd"]
    assert [(each.name, each.why) for each in left_out] == [("no-lessons", "the bank has no lessons about these words")]
