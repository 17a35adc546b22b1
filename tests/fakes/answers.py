"""The project of the answer checks in memory: a Label Studio with its backend, which a test makes misbehave."""

import io
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from backend.demo.answer_checks import NEW_LABEL
from backend.demo.api import StoredTask
from backend.demo.console import Console
from backend.demo.session import Session
from converters.encodings.brush import mask_to_brush_rle

PROJECT = 4
REGION = {
    "original_width": 8,
    "original_height": 6,
    "value": {"rle": mask_to_brush_rle(np.eye(6, 8, dtype=np.bool_)), "brushlabels": [NEW_LABEL]},
}


@dataclass
class AnswersStudio:
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

    def session(self) -> Session:
        """Return it as a session."""
        return Session(None, self, self)  # type: ignore[arg-type]  # fakes, and no process

    @property
    def api(self) -> "AnswersStudio":
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
