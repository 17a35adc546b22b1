from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.demo.few_words import ABSENT, LEAST_SHARE, SCENES, WORDS, Outcome, WordInImage, make_few_words
from backend.demo.project import DemoScene, label_config
from tests.fakes.few_words import PROJECT, SIZE_PX, FewWordsStudio, with_umbrella_in


def _entries(word: str, *shares: tuple[float, float, float]) -> tuple[WordInImage, ...]:
    return tuple(WordInImage(word, f"{number}.png", *each) for number, each in enumerate(shares))


def test_the_absent_word_is_in_no_scene_and_the_others_are_in_some_and_missing_in_some() -> None:
    renderings = [scene.render(SIZE_PX) for scene in SCENES]
    assert not any(rendering.mask(ABSENT).any() for rendering in renderings)
    for word in set(WORDS) - {ABSENT}:
        shown = [float(rendering.mask(word).mean()) > 4 * LEAST_SHARE for rendering in renderings]
        hidden = [not rendering.mask(word).any() for rendering in renderings]
        assert sum(shown) >= 2 and sum(hidden) >= 2 and sum(shown) + sum(hidden) == len(SCENES)


def test_the_project_is_made_with_the_four_words_and_predicted_once_they_are_ready(tmp_path: Path) -> None:
    studio = FewWordsStudio()
    outcome = make_few_words(studio.session(), tmp_path, SIZE_PX)
    assert studio.asked == [label_config(WORDS), "connect", "wait", "predict"]
    assert studio.names == [scene.file_name for scene in SCENES]
    assert outcome.project == PROJECT
    assert {word: round(outcome.iou(word), 6) for word in WORDS} == dict.fromkeys(WORDS, 1.0) | {ABSENT: 0.0}
    assert not any(item.is_painted for item in outcome.of(ABSENT))


def test_the_outcome_is_told_as_a_table_and_a_sentence(tmp_path: Path) -> None:
    lines = make_few_words(FewWordsStudio().session(), tmp_path, SIZE_PX).told().splitlines()
    assert lines[0] == (
        "A second project asks for four words on 8 images. What was painted, as Label Studio stored it:"
    )
    assert lines[2:7] == [
        "  word      images that show it  painted in  painted where it is not",
        "  boat      2                    2 images    0 images",
        "  water     3                    3 images    0 images",
        "  clock     2                    2 images    0 images",
        "  umbrella  0                    0 images    0 images",
    ]
    assert lines[-1] == "No image shows an umbrella, and the word was painted in none of them."


def test_an_absent_word_that_is_painted_is_told_as_it_is(tmp_path: Path) -> None:
    told = make_few_words(FewWordsStudio(with_umbrella_in(2, 9)).session(), tmp_path, SIZE_PX).told()
    assert "  umbrella  0                    2 images    2 images\n" in told
    assert told.endswith("the word was painted in 2 of the 8 images: there the method is wrong.")


def test_labels_and_images_that_a_person_added_change_nothing(tmp_path: Path) -> None:
    def with_another(scene: DemoScene, truth: NDArray[np.int32]) -> NDArray[np.int32]:
        truth[truth == 0] = len(WORDS) + 1
        return truth

    studio = FewWordsStudio(with_another, labels=[*WORDS, "sky"], names=["mine.png"])
    outcome = make_few_words(studio.session(), tmp_path, SIZE_PX)
    assert len(outcome.found) == len(WORDS) * len(SCENES)
    assert outcome.iou("boat") == pytest.approx(1.0)


def test_a_word_is_measured_by_all_images_together() -> None:
    outcome = Outcome(1, _entries("boat", (0.2, 0.1, 0.1), (0.0, 0.1, 0.0), (0.0, 0.0, 0.0)))
    assert outcome.iou("boat") == pytest.approx(0.1 / 0.3)
    assert outcome.painted_without("boat") == 1
    assert outcome.iou("clock") == 0.0


def test_a_speck_is_not_painted() -> None:
    speck, more = _entries("boat", (0.0, LEAST_SHARE, 0.0), (LEAST_SHARE, LEAST_SHARE + 0.001, 0.0))
    assert (speck.is_painted, more.is_painted, more.is_there) == (False, True, False)
