from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.errors import UnusableLabelConfigError
from backend.serving.precompute import Precompute
from backend.serving.projects import Projects, ProjectState
from backend.serving.store import Store
from backend.serving.vocabulary import read_labelling
from backend.settings import Settings
from backend.sources.label_studio import LabelStudioClient
from tests.fakes.engine import FakeEngine
from tests.fakes.label_studio import PROJECT_UID


def config(*labels: str) -> str:
    body = "".join(f'<Label value="{label}"/>' for label in labels)
    return f'<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i">{body}</BrushLabels></View>'


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state.sqlite", event_rows=10)


@pytest.fixture
def projects(store: Store, settings: Settings, engine: FakeEngine) -> Iterator[Projects]:
    precompute = Precompute(engine, retry_failed_after_s=300.0)
    made = Projects(store, LabelStudioClient(settings.label_studio), precompute, max_categories=10)
    yield made
    made.stop()


def test_an_unusable_config_leaves_the_usable_one_in_force(projects: Projects, store: Store) -> None:
    projects.adopt(PROJECT_UID, config("red"))
    with pytest.raises(UnusableLabelConfigError, match="shows no <Image>"):
        projects.adopt(PROJECT_UID, "<View/>")
    state = projects.states()[PROJECT_UID]
    assert state.labelling == read_labelling(config("red"), max_categories=10)
    assert "shows no <Image>" in (state.error or "")
    assert store.label_configs() == {PROJECT_UID: config("red")}


def test_a_usable_config_ends_the_error(projects: Projects) -> None:
    with pytest.raises(UnusableLabelConfigError):
        projects.adopt(PROJECT_UID, "<View/>")
    projects.adopt(PROJECT_UID, config("red"))
    assert projects.states() == {PROJECT_UID: ProjectState(read_labelling(config("red"), max_categories=10))}
