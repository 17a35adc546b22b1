from functools import partial
from pathlib import Path

import numpy as np
import pytest

from backend.demo import few_words_check
from backend.demo.checks import Demo
from backend.demo.few_words import make_few_words
from backend.demo.few_words_check import check_few_words
from backend.demo.report import Report
from tests.fakes.few_words import SIZE_PX, FewWordsStudio, Spoil, with_umbrella_in


@pytest.fixture(autouse=True)
def small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(few_words_check, "make_few_words", partial(make_few_words, size_px=SIZE_PX))


def _checked(studio: FewWordsStudio, folder: Path) -> Report:
    demo = Demo(studio.session(), 1, [], folder, folder / "sheet.png", Report())
    check_few_words(demo)
    return demo.report


@pytest.mark.parametrize("scenes", [(), (2,)])
def test_an_absent_word_may_be_painted_in_one_image_at_most(tmp_path: Path, scenes: tuple[int, ...]) -> None:
    report = _checked(FewWordsStudio(with_umbrella_in(*scenes)), tmp_path)
    assert report.failures == []
    assert [row.found for row in report.rows[:2]] == ["0", str(len(scenes))]


@pytest.mark.parametrize(
    ("spoil", "failed"),
    [
        (with_umbrella_in(2, 9), ["four words: images painted as umbrella"]),
        (lambda scene, truth: np.where(truth == 3, 0, truth), ["four words: IoU of clock"]),
        (lambda scene, truth: np.where(truth == 0, 1, truth), ["four words: IoU of boat"]),
    ],
)
def test_masks_of_an_absent_word_or_beside_a_present_word_are_noticed(
    tmp_path: Path, spoil: Spoil, failed: list[str]
) -> None:
    assert [row.check for row in _checked(FewWordsStudio(spoil), tmp_path).failures] == failed


def test_the_table_is_shown(tmp_path: Path) -> None:
    studio = FewWordsStudio()
    _checked(studio, tmp_path)
    assert "No image shows an umbrella" in studio.console.stream.getvalue()  # type: ignore[attr-defined]
