"""What the tests of a service that learns share: settings and an engine for a test's own ``studio``."""

from pathlib import Path

import pytest

from backend.settings import Settings
from tests.fakes.learner import LearningEngine
from tests.fakes.project_studio import ProjectStudio
from tests.fakes.teaching import quick_settings


@pytest.fixture
def settings(studio: ProjectStudio, tmp_path: Path) -> Settings:
    return quick_settings(studio, tmp_path)


@pytest.fixture
def engine(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> LearningEngine:
    monkeypatch.setattr(LearningEngine, "learned", 0)
    return LearningEngine(settings.bank_dir)
