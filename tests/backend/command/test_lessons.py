import json
from pathlib import Path

import pytest

from backend.command import cli
from ovdiff.bank.lesson_store import LessonStore, lessons_beside
from tests.ovdiff.bank.a_lesson import RECIPE, a_lesson

FIRST, SECOND = a_lesson(0), a_lesson(1)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LessonStore:
    """Two lessons of tasks 0 and 1, both by ann@example.org."""
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    made = lessons_beside(tmp_path / "data/bank")
    made.save(FIRST)
    made.save(SECOND)
    return made


def run(*arguments: str) -> int:
    return cli.main(["lessons", *arguments])


def test_lessons_are_listed_with_their_sources(store: LessonStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.change(SECOND.address, on=False)
    assert run("list") == 0
    header, first, second, last = capsys.readouterr().out.splitlines()
    assert header.split() == [
        "lesson", "counts", "project", "task", "person", "annotated", "rows", "words", "recipe"
    ]  # fmt: skip
    assert first.split()[:5] == [FIRST.address[:12], "on", "1", "0", "ann@example.org"]
    assert second.split()[:2] == [SECOND.address[:12], "off"] and second.split()[-2:] == ["ball", RECIPE[:6]]
    assert last == "lessons: 2, 1 of them on"
    assert run("list", "--task", "1", "--person", "ANN@example.org", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["address"] == SECOND.address and found["on"] is False and found["source"]["task"] == "1"
    assert run("list", "--person", "bob") == 0
    assert "no lessons of this task or person in" in capsys.readouterr().out


def test_without_lessons_there_is_nothing_to_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(tmp_path / "data"))
    assert run("list") == 0
    assert "no lessons in" in capsys.readouterr().out and not (tmp_path / "data").exists()


def test_a_lesson_is_shown_with_what_was_wrong(store: LessonStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", FIRST.address[:6]) == 0
    said = capsys.readouterr().out
    assert f"lesson {FIRST.address}: on" in said and "task 0, annotation 100" in said
    assert "there: ball\nabsent: mug\n" in said and "rows: 5 of clip; views of parts: 2" in said
    rows = [line.split() for line in said.splitlines()]
    assert ["ball", "background", "26.7%"] in rows and ["background", "right", "33.3%"] in rows
    assert ["ball", "mug", "13.3%"] in rows
    assert run("show", FIRST.address[:8], "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["absent"] == ["mug"] and {"annotated": "ball", "predicted": "mug", "cells": 2.0} in found["cells"]


def test_lessons_are_switched_and_weighed_by_digits_task_and_person(
    store: LessonStore, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("off", FIRST.address[:12]) == 0
    assert capsys.readouterr().out == f"off: 1 lessons ({FIRST.address[:12]})\n"
    assert not store.card(FIRST.address).on and store.card(SECOND.address).on
    assert run("off", "--person", "ann@example.org") == 0
    assert store.in_force(RECIPE) == ()
    assert run("on", "--task", "1", "--weight", "0.5") == 0
    assert [(lesson.address, lesson.weight) for lesson in store.in_force(RECIPE)] == [(SECOND.address, 0.5)]
    assert run("on", SECOND.address[:6]) == 0
    assert store.card(SECOND.address).weight == 0.5


def test_lessons_are_removed_after_a_person_has_agreed(store: LessonStore, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("remove", FIRST.address[:6]) == 2
    assert "say it with --yes" in capsys.readouterr().err and len(store.addresses()) == 2
    assert run("remove", FIRST.address[:6], "--yes") == 0
    assert store.addresses() == (SECOND.address,)
    assert run("remove", "--person", "ann@example.org", "--yes") == 0
    assert store.addresses() == () and "removed: 1 lessons" in capsys.readouterr().out


def test_a_damaged_lesson_is_named_and_can_be_removed(store: LessonStore, capsys: pytest.CaptureFixture[str]) -> None:
    (store.folder / f"{FIRST.address}.safetensors").write_bytes(b"broken")
    assert run("list") == 0
    assert f"{FIRST.address[:12]}  Lesson file" in capsys.readouterr().out
    assert run("list", "--json") == 0
    assert "is damaged" in json.loads(capsys.readouterr().out)[-1]["error"]
    for verb in ("show", "on"):
        assert run(verb, FIRST.address[:6]) == 1
        assert f"remove it (ovdiff lessons remove {FIRST.address[:12]})" in capsys.readouterr().err
    assert run("remove", FIRST.address[:12], "--yes") == 0
    assert store.addresses() == (SECOND.address,)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["show", "abc"], 2, "'abc' is too short to name a lesson; give at least 6 digits"),
        (["off", "abcdef0"], 2, "No lesson 'abcdef0' in"),
        (["off"], 2, "Name lessons by the first digits"),
        (["on", "--task", "9"], 2, "No lesson is of this task or person"),
        (
            ["on", FIRST.address[:6], "--weight", "0"],
            1,
            "weight of a lesson is 0.0; expected a number above 0 and up to 1000",
        ),
    ],
)
def test_what_cannot_be_done_is_said(
    store: LessonStore, arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == status
    assert message in capsys.readouterr().err
    assert all(card.on and card.weight == 1 for card in store.cards())
