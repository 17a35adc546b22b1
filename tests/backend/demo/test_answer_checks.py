"""The checks of answers on a Label Studio in memory, which a test makes misbehave."""

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.demo import answer_checks
from backend.demo.answer_checks import NEW_LABEL, check_answers
from backend.demo.api import StoredTask
from backend.demo.checks import Demo
from backend.demo.console import Console
from backend.demo.errors import CheckError
from backend.demo.report import Report
from backend.demo.session import Session
from converters.encodings.brush import mask_to_brush_rle

PROJECT = 4
REGION = {
    "original_width": 8,
    "original_height": 6,
    "value": {"rle": mask_to_brush_rle(np.eye(6, 8, dtype=np.bool_)), "brushlabels": [NEW_LABEL]},
}


@dataclass
class MemoryStudio:
    """A Label Studio with its backend and the maker of projects.

    Attributes:
        early: how many predictions a task keeps that is opened before the labels are ready.
        twice: how many predictions two requests at the same time leave.
        per_click: how many tasks one click on Retrieve answers.
        untold: how many of them the log leaves out.
        unpainted: how many of the first tasks have a prediction without any region.
        offered: the regions that the clicks are given, one list after the other.
    """

    early: int = 0
    twice: int = 1
    per_click: int = 100
    untold: int = 0
    unpainted: int = 0
    offered: list[list[dict[str, Any]]] = field(default_factory=lambda: [[REGION], [REGION]])
    version: str = "early"
    count: int = 0
    stored: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    prompts: list[dict[str, Any]] = field(default_factory=list)
    clicked: list[int] = field(default_factory=list)
    retrieved: int = 0
    is_interactive: bool = False
    console: Console = field(default_factory=lambda: Console(io.StringIO()))
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def api(self) -> "MemoryStudio":
        return self

    def ensure_project(self, title: str, config: str, images: Sequence[Path]) -> int:
        assert NEW_LABEL in config
        self.count = len({path.read_bytes() for path in images})
        return PROJECT

    def tasks(self, project: int) -> list[StoredTask]:
        return [StoredTask(number, f"{number}.png", "") for number in range(1, self.count + 1)]

    def connect(self, project: int) -> None:
        """The new label is not ready then."""

    def wait_for_prototypes(self, project: int, console: Console) -> None:
        self.version = "final"

    def backends(self, project: int) -> list[dict[str, Any]]:
        return [{"model_version": self.version}]

    def predictions(self, task: int) -> list[dict[str, Any]]:
        return self.stored.get(task, [])

    def open_task(self, project: int, task: int) -> int:
        with self.lock:
            if not self.stored.get(task):
                self._store(task, self.early if self.version == "early" else self.twice if task == 2 else 1)
            return len(self.stored[task])

    def retrieve_predictions(self, project: int, tasks: Sequence[int]) -> None:
        self.retrieved += 1
        lacking = [task for task in tasks if not self.stored.get(task)]
        for task in lacking[: self.per_click]:
            self._store(task, 1)

    def _store(self, task: int, count: int) -> None:
        self.stored[task] = [
            {"model_version": self.version, "result": [REGION] if task > self.unpainted else []}
        ] * count
        told = max(0, count - self.untold)
        self.lines.append(f"... Project {PROJECT}.1795200099: 1 task asked for, {told} answered, 0 left, in 1.0 s.")
        self.lines.append("... Project 7.1795200099: 9 tasks asked for, 9 answered, 0 left, in 1.0 s.")

    def log(self) -> str:
        return "\n".join(self.lines)

    def make_interactive(self, project: int) -> None:
        self.is_interactive = True

    def click(self, project: int, task: int, prompt: dict[str, Any]) -> list[dict[str, Any]]:
        assert self.is_interactive
        self.prompts.append(prompt)
        self.clicked.append(task)
        return self.offered.pop(0)


def failed(studio: MemoryStudio, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(answer_checks, "TASK_COUNT", 7)
    session: Any = Session(None, studio, studio)  # type: ignore[arg-type]  # fakes, and no process
    demo = Demo(session, PROJECT, [], folder, folder / "sheet.png", Report())
    check_answers(demo)
    return [row.check for row in demo.report.failures]


def test_a_backend_that_keeps_its_promises_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = MemoryStudio()
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
            MemoryStudio(early=1),
            ["predictions of a task opened too early", "tasks of 7 with one prediction of all labels"],
        ),
        (
            MemoryStudio(twice=2),
            [
                "predictions shown to two who open a task at once",
                "predictions stored of it",
                "tasks of 7 with one prediction of all labels",
            ],
        ),
        (MemoryStudio(per_click=1), []),  # five clicks are enough for the five tasks that nobody opened
        (MemoryStudio(per_click=0), ["tasks of 7 with one prediction of all labels"]),
        (MemoryStudio(untold=1), ["tasks answered, by the backend's log"]),
        (
            MemoryStudio(offered=[[REGION], []]),
            ["masks for a click in a mask, and once more", "the same mask both times"],
        ),
        (MemoryStudio(offered=[[REGION], [REGION | {"id": "another"}]]), ["the same mask both times"]),
    ],
)
def test_what_is_not_as_promised_is_noticed(
    studio: MemoryStudio, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert failed(studio, tmp_path, monkeypatch) == expected


def test_the_click_goes_to_the_first_task_that_has_a_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    studio = MemoryStudio(unpainted=2)
    assert failed(studio, tmp_path, monkeypatch) == []
    assert studio.clicked == [3, 3]


def test_a_project_without_any_mask_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckError, match="None of the 7 tasks of project 4 has a mask to click in"):
        failed(MemoryStudio(unpainted=7), tmp_path, monkeypatch)
