import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ovdiff.bank.lesson_card import json_to_lesson_card, lesson_card_to_json, lesson_to_card
from ovdiff.errors import LessonCorruptError
from tests.ovdiff.bank.a_lesson import a_lesson

PATH = Path("bank/lessons/ab.json")
CARD = replace(lesson_to_card(a_lesson()), on=False, weight=0.5).sealed(b"arrays")


def test_a_card_comes_back_from_its_json() -> None:
    assert json_to_lesson_card(lesson_card_to_json(CARD), PATH) == CARD
    assert CARD.present == ("ball",) and CARD.rows == {"clip": 5} and CARD.crops == 2


def test_the_checksum_holds_what_never_changes_and_not_what_a_person_changes() -> None:
    assert replace(CARD, on=True, weight=2.0).checksum(b"arrays") == CARD.sha256
    assert CARD.checksum(b"other") != CARD.sha256
    for other in ({"words": CARD.words[:1]}, {"complete": False}, {"recipe": "00"}, {"image": "00"}):
        assert replace(CARD, **other).checksum(b"arrays") != CARD.sha256  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"on": "yes"}, "'on' of its card is 'yes', expected bool"),
        ({"words": [{"name": "ball"}]}, "'words' of its card is"),
        ({"words": [{"name": "ball", "phrases": "ball", "covered": True}]}, "expected a list of LessonWord"),
        ({"source": {"task": 1}}, "expected LessonSource"),
        ({"rows": {"clip": "5"}}, "expected an object of int"),
        ({"weight": None}, "'weight' of its card is None, expected float"),
        ({"schema_version": 99}, "it is of version 99, expected 1"),
    ],
)
def test_a_card_with_a_wrong_value_is_refused(change: dict[str, Any], message: str) -> None:
    text = json.dumps({**json.loads(lesson_card_to_json(CARD)), **change})
    with pytest.raises(LessonCorruptError, match=message):
        json_to_lesson_card(text, PATH)


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "not JSON"), ("[]", "is list, expected an object"), ("{}", "has no 'address'")],
)
def test_what_is_no_card_is_refused(text: str, message: str) -> None:
    with pytest.raises(LessonCorruptError, match=message):
        json_to_lesson_card(text, PATH)
