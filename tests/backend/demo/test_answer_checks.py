"""The checks of answers on a Label Studio in memory, which a test makes misbehave."""

from pathlib import Path

import pytest

from backend.demo import answer_checks
from backend.demo.answer_checks import NEW_LABEL, check_answers
from backend.demo.checks import Demo
from backend.demo.engines import Abilities
from backend.demo.errors import CheckError
from backend.demo.report import Report
from tests.fakes.answers import PROJECT, REGION, AnswersStudio

FIRST, SECOND = Abilities(), Abilities(makes_prototypes=False)


def report_of(
    studio: AnswersStudio, folder: Path, monkeypatch: pytest.MonkeyPatch, abilities: Abilities = FIRST
) -> Report:
    monkeypatch.setattr(answer_checks, "TASK_COUNT", 7)
    demo = Demo(studio.session(), PROJECT, [], folder, folder / "sheet.png", Report(), abilities)
    check_answers(demo)
    return demo.report


def failed(studio: AnswersStudio, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    return [row.check for row in report_of(studio, folder, monkeypatch).failures]


def test_a_backend_that_keeps_its_promises_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = AnswersStudio()
    assert failed(studio, tmp_path, monkeypatch) == []
    assert studio.count == 7 and studio.retrieved == 1
    assert studio.prompts[0] == studio.prompts[1]
    value = studio.prompts[0]["value"]
    assert value["keypointlabels"] == [NEW_LABEL]
    assert (value["x"], value["y"]) == (100 * 0.5 / 8, 100 * 0.5 / 6)


@pytest.mark.parametrize(
    ("studio", "expected"),
    [
        (
            AnswersStudio(early=1),
            ["predictions of a task opened too early", "tasks of 7 with one prediction of all labels"],
        ),
        (
            AnswersStudio(twice=2),
            [
                "predictions shown to two who open a task at once",
                "predictions stored of it",
                "tasks of 7 with one prediction of all labels",
            ],
        ),
        (AnswersStudio(per_click=1), []),  # five clicks are enough for the five tasks that nobody opened
        (AnswersStudio(per_click=0), ["tasks of 7 with one prediction of all labels"]),
        (AnswersStudio(untold=1), ["tasks answered, by the backend's log"]),
        (
            AnswersStudio(offered=[[REGION], []]),
            ["masks for a click in a mask, and once more", "the same mask both times"],
        ),
        (AnswersStudio(offered=[[REGION], [REGION | {"id": "another"}]]), ["the same mask both times"]),
    ],
)
def test_what_is_not_as_promised_is_noticed(
    studio: AnswersStudio, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failed(studio, tmp_path, monkeypatch) == expected


def test_the_click_goes_to_the_first_task_that_has_a_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = AnswersStudio(unpainted=2)
    assert failed(studio, tmp_path, monkeypatch) == []
    assert studio.clicked == [3, 3]


def test_a_project_without_any_mask_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckError, match="None of the 7 tasks of project 4 has a mask to click in"):
        failed(AnswersStudio(unpainted=7), tmp_path, monkeypatch)


def test_without_prototypes_a_task_is_predicted_as_soon_as_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = report_of(AnswersStudio(version="final"), tmp_path, monkeypatch, SECOND)
    assert report.failures == []
    assert [row.check for row in report.left_out] == ["predictions of a task opened too early"]
    late = report_of(AnswersStudio(early=0, version="early"), tmp_path, monkeypatch, SECOND)
    assert [row.check for row in late.failures] == ["predictions of it at once"]
