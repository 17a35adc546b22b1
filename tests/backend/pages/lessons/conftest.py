"""A project whose engine learns, with lessons of three annotated images by two people."""

import numpy as np
import pytest
from flask import Flask

from backend.pages.blueprint import add_pages
from backend.settings import Settings
from ovdiff.bank.lessons import Lesson, LessonSource
from ovdiff.learning.annotation import Annotation
from ovdiff.vocabulary import Category, Vocabulary
from tests.backend.pages.tasks.conftest import connected
from tests.fakes.fixtures import MakeApp
from tests.fakes.label_studio import FakeLabelStudio
from tests.fakes.learner import LearningEngine
from tests.fakes.pictures import red_and_blue

WORDS = Vocabulary([Category("red"), Category("blue"), Category("<i>green", ("i green",))])


@pytest.fixture
def engine(settings: Settings) -> LearningEngine:
    return LearningEngine(settings.bank_dir)


@pytest.fixture
def app(make_app: MakeApp, settings: Settings, engine: LearningEngine, label_studio: FakeLabelStudio) -> Flask:
    return connected(make_app(settings, engine, add_pages=add_pages), label_studio)


@pytest.fixture
def lessons(app: Flask, engine: LearningEngine) -> list[Lesson]:
    """Task 4 by ann is as predicted; in task 7, by bob, the red is blue; project 2 has one, too."""
    for category in WORDS.categories:
        engine.build(category)
    return [
        take(engine, 4, "ann", swapped=False),
        take(engine, 7, "bob <b>", swapped=True),
        take(engine, 9, "ann", swapped=False, project="2"),
    ]


def take(engine: LearningEngine, task: int, person: str, *, swapped: bool, project: str = "1") -> Lesson:
    image = red_and_blue()
    image[0, 0] = task
    labels = engine.segment(image, WORDS).label_map
    if swapped:
        labels = np.where(labels == 1, 2, labels).astype(np.int32)
    source = LessonSource(project, str(task), str(task * 10), person, "2026-11-21T10:00:00Z", f"/{task}.png")
    return engine.learn(image, Annotation(labels, WORDS), source)
