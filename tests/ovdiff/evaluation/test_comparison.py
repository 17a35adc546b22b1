"""Evaluations side by side: what is better is clear, what is alike is not, and what cannot be compared is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from converters.metrics.confusion import category_ious
from ovdiff.errors import EvaluationError
from ovdiff.evaluation.comparison import Comparison, compare_evaluations
from ovdiff.evaluation.dataset import Dataset, LabelledImage
from ovdiff.evaluation.records import read_records
from ovdiff.vocabulary import Category, Vocabulary
from tests.fakes.coloured_dataset import Squares
from tests.fakes.engine import FakeEngine
from tests.fakes.evaluations import HalfBlind, evaluated

COUNT = 30


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """An engine that sees, and one that finds half of what is green."""
    evaluated(tmp_path / "sees", FakeEngine(tmp_path / "bank", "sees"), Squares(COUNT)())
    evaluated(tmp_path / "blind", HalfBlind(tmp_path / "bank"), Squares(COUNT)())
    return tmp_path / "sees", tmp_path / "blind"


def by_name(found: Comparison) -> dict[str, tuple[float | None, bool]]:
    return {each.name: (each.differences[0].value, each.differences[0].is_clear) for each in found.categories}


def test_what_differs_is_clear_and_what_is_alike_is_not(folders: tuple[Path, Path]) -> None:
    found = compare_evaluations(folders)
    assert found.names == ("sees", "half blind") and found.images == COUNT and found.own_images == (COUNT, COUNT)
    differences = by_name(found)
    assert differences["red"] == (0.0, False) and differences["blue"] == (0.0, False)
    value, is_clear = differences["green"]
    assert value is not None and value < -0.3 and is_clear
    (miou,) = found.miou_differences
    assert miou.is_clear and miou.interval is not None and miou.value is not None
    assert miou.interval[0] < miou.value < miou.interval[1] < 0


def test_figures_are_those_of_the_sums_over_the_images(folders: tuple[Path, Path]) -> None:
    found = compare_evaluations(folders)
    for place, folder in enumerate(folders):
        confusion = np.sum([each.confusion(3) for each in read_records(folder)], axis=0)
        assert [each.ious[place] for each in found.categories] == pytest.approx(category_ious(confusion).tolist())
        assert found.measures[place].miou == pytest.approx(category_ious(confusion).mean())


def test_only_images_that_all_have_are_compared(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    evaluated(tmp_path / "few", FakeEngine(tmp_path / "bank", "few"), Squares(12)())
    found = compare_evaluations((folders[0], tmp_path / "few"))
    assert found.images == 12 and by_name(found)["green"] == (0.0, False)
    assert found.notes == (f"{folders[0]} has 30 images; the figures are of the 12 that all have.",)


def test_other_prompts_are_told_and_equal_presets_have_the_names_of_their_folders(
    tmp_path: Path, folders: tuple[Path, Path]
) -> None:
    words = Vocabulary((Category("red", ("crimson red",), "thing"), *Squares()().vocabulary.categories[1:]))
    evaluated(tmp_path / "other", FakeEngine(tmp_path / "bank", "sees"), replace(Squares(COUNT)(), vocabulary=words))
    found = compare_evaluations((folders[0], tmp_path / "other"))
    assert found.names == ("sees", "other")
    assert found.notes == (f"{tmp_path / 'other'} asks for red by other prompts than {folders[0]}.",)


def test_an_upper_line_has_its_mark_behind_its_name(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    result = json.loads((folders[1] / "result.json").read_text())
    result["preset"]["sees_truth"] = "the truth's boxes"
    (folders[1] / "result.json").write_text(json.dumps(result))
    found = compare_evaluations(folders)
    assert found.names == ("sees", "half blind (upper line)")
    said = "is an upper line: it was given the truth's boxes, so only its outlines compare."
    assert found.notes == (f"{folders[1]} {said}",)


def _relabelled(dataset: Dataset) -> Dataset:
    def read(name: str) -> LabelledImage:
        labelled = dataset.read(name)
        truth = replace(labelled.truth, label_map=np.roll(labelled.truth.label_map, 1, axis=0) * 0 + 1)
        return replace(labelled, truth=replace(truth, segments=None, objects=None))

    return replace(dataset, read=read)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": "circles"}, "the dataset differs, 'squares' and 'circles'"),
        ({"counts_background": False}, "whether background counts differs, True and False"),
        ({"vocabulary": "other"}, "their vocabularies differ, category 2 is 'green' and 'white'"),
        ({"vocabulary": "fewer"}, "their vocabularies differ, 3 and 2 categories"),
        ({"read": "other"}, "has another truth in"),
        ({"images": "other"}, "have no image in common"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, folders: tuple[Path, Path], change: dict[str, object], says: str
) -> None:
    dataset = Squares(COUNT)()
    words = dataset.vocabulary.categories
    made = {
        ("vocabulary", "other"): {"vocabulary": Vocabulary((words[0], Category("white", kind="thing"), words[2]))},
        ("vocabulary", "fewer"): {"vocabulary": Vocabulary(words[:2])},
        ("read", "other"): {"read": _relabelled(dataset).read},
        ("images", "other"): {"images": ("square-40", "square-41")},
    }.get(next(iter(change.items())), change)  # type: ignore[call-overload]
    if "vocabulary" in made:
        made["read"] = _relabelled(dataset).read
    if made.get("counts_background") is False:
        made["read"] = _relabelled(dataset).read
    evaluated(tmp_path / "other", FakeEngine(tmp_path / "bank", "other"), replace(dataset, **made))
    with pytest.raises(EvaluationError, match=says):
        compare_evaluations((folders[0], tmp_path / "other"))


def test_one_folder_and_a_folder_without_an_evaluation_are_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="needs two evaluations or more"):
        compare_evaluations(folders[:1])
    with pytest.raises(EvaluationError, match="holds no finished evaluation"):
        compare_evaluations((folders[0], tmp_path))
    lines = (folders[1] / "images.jsonl").read_bytes().splitlines(keepends=True)
    (folders[1] / "images.jsonl").write_bytes(b"".join(lines[:-2]))
    with pytest.raises(EvaluationError, match="has no figures of 2 of its images any more"):
        compare_evaluations(folders)
